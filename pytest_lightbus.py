"""Fixtures for tests of code that uses a Lightbus bus. Nothing of Lightbus is imported before one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lightbus import BusPath
    from lightbus.testing import Hosted, MockResult, VirtualClock


@pytest.fixture
def lightbus_clock() -> VirtualClock:
    """What the schedules and retries of ``lightbus_hosted`` go by: it stands still until ``advance()``."""
    from lightbus.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def lightbus_hosted(lightbus_clock: VirtualClock) -> Iterator[Callable[..., Hosted]]:
    """Hosts services in memory for one synchronous test: ``host = lightbus_hosted(shop.bus)``."""
    from lightbus.testing import hosted

    with ExitStack() as stack:
        yield lambda *what, **options: stack.enter_context(hosted(*what, clock=lightbus_clock, **options))


@pytest.fixture
def lightbus_mocker() -> Iterator[Callable[..., MockResult]]:
    """Mocks buses for one test: ``mock = lightbus_mocker(bus)``."""
    from lightbus.testing import BusMocker

    with ExitStack() as stack:

        def mock(bus: BusPath, **options: Any) -> MockResult:
            return stack.enter_context(BusMocker(bus, **options))

        yield mock
