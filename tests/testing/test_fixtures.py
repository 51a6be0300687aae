"""The fixtures that pytest finds wherever Lightbus is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import lightbus
from lightbus.testing import Hosted, MockResult, VirtualClock

from . import shop


def test_a_service_is_hosted_for_one_test(
    lightbus_hosted: Callable[..., Hosted], lightbus_clock: VirtualClock
) -> None:
    host = lightbus_hosted(shop, config={"service_name": "named"})
    assert host.clock is lightbus_clock
    assert host.bus.client.service_name == "named"
    host.bus.store.sold.fire(sku="broken", count=1)
    lightbus_clock.advance(3600)
    assert len(host.dead_letters("note_sale")) == 1
    shop.log.clear()


def test_a_bus_is_mocked_for_one_test(lightbus_mocker: Callable[..., MockResult]) -> None:
    bus = lightbus.create({"service_name": "store"})
    mock = lightbus_mocker(bus, require_mocking=False)
    assert bus.store.price(sku="cup") is None
    mock.assert_rpc_called("store.price")


def test_pytest_starts_without_importing_lightbus() -> None:
    show = "import sys, pytest_lightbus; print([name for name in sys.modules if name.startswith('lightbus')])"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
