"""A bus that is put into a test's hands, and given back as it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lightbus.bus.client import BusClient
from lightbus.bus.declarations import Declarations
from lightbus.bus.parts import Parts
from lightbus.declared.registry import Registry
from lightbus.declared.settings import Wiring


@contextmanager
def lend(client: BusClient, wiring: Wiring, registry: Registry) -> Iterator[None]:
    """Make a bus of new parts, with all that was declared on it; afterwards it has its own again."""
    before = client.parts
    client.parts = Parts(wiring, registry, client)
    _copy(before.declarations, client.parts.declarations)
    try:
        yield
    finally:
        client.parts = before


def _copy(source: Declarations, target: Declarations) -> None:
    target.features = source.features
    target.plugins = dict(source.plugins)
    target.listeners = {name: replace(listener) for name, listener in source.listeners.items()}
    target.recurring = dict(source.recurring)
    target.schedules = dict(source.schedules)
    # A coroutine runs once, so in the first test that hosts it.
    target.background = [
        task
        for task in source.background
        if inspect.getcoroutinestate(task.coroutine) == inspect.CORO_CREATED
    ]
    target.hooks.copy(source.hooks)
