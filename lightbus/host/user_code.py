"""Runs code of bus modules and plugins, and tells where it failed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from lightbus.bus.path import BusPath
from lightbus.declared.definition import where
from lightbus.exceptions import ConfigurationError, LightbusException, TransportUnavailable
from lightbus.host import logs
from lightbus.host.importing import described, place_of, with_place
from lightbus.plugins.hooks import Hooks
from lightbus.runtime.cancellation import is_cancelled

logger = logging.getLogger(__name__)


async def run_start_functions(modules: Sequence[ModuleType], bus: BusPath) -> None:
    """Call ``before_server_start(bus)`` of each module, in which listeners are set up.

    Raises:
        ConfigurationError: One of them raises; the message has the line.
    """
    for module in modules:
        function = getattr(module, "before_server_start", None)
        if function is not None:
            with located(function, f"before_server_start() of {module.__name__}"):
                await bus.client.parts.pool.invoke(function, bus)


async def run_located(hooks: Hooks, name: str, what: str, *about: Any) -> None:
    """Run the callbacks of a hook at the start; ``about`` is what they get, besides the client.

    Raises:
        ConfigurationError: One of them raises; the message has the line.
    """
    for callback in hooks.callbacks(name):
        with located(callback, what):
            await hooks.run(name, (callback,), *about)


@contextmanager
def located(function: Any, what: str) -> Iterator[None]:
    """Turn what user code raises at the start into one line that says where.

    Raises:
        ConfigurationError: It raised.
    """
    try:
        yield
    except TransportUnavailable:
        raise
    except LightbusException as e:
        raise with_place(e) from e
    except BaseException as e:
        if is_cancelled(e) or isinstance(e, KeyboardInterrupt):
            raise
        logger.debug("%s failed", what, exc_info=e)
        place = place_of(e) or where(function)
        raise ConfigurationError(f"{place}: {what} raised {described(e)}") from e
    finally:
        logs.keep()
