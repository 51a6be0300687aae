"""A bus that is put into a test's hands, and given back as it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lightbus.bus.client import BusClient
from lightbus.declared.registry import Registry
from lightbus.declared.settings import Wiring
from lightbus.plugins.hooks import Hooks


@contextmanager
def lend(client: BusClient, wiring: Wiring, registry: Registry) -> Iterator[None]:
    """Make a bus anew, with all that was declared on it; afterwards all is as it was."""
    before = dict(vars(client))
    BusClient.__init__(client, wiring, registry)
    client.features = before["features"]
    client.plugins = dict(before["plugins"])
    client.listeners = {name: replace(listener) for name, listener in before["listeners"].items()}
    client.recurring = dict(before["recurring"])
    client.schedules = dict(before["schedules"])
    # A coroutine runs once, so in the first test that hosts it.
    client.background = [
        task
        for task in before["background"]
        if inspect.getcoroutinestate(task.coroutine) == inspect.CORO_CREATED
    ]
    _copy_hooks(before["hooks"], client.hooks)
    try:
        yield
    finally:
        vars(client).clear()
        vars(client).update(before)


def _copy_hooks(source: Hooks, target: Hooks) -> None:
    for name, value in vars(source).items():
        copied: Any = {k: list(v) for k, v in value.items()} if isinstance(value, dict) else value
        if name != "_pool":
            setattr(target, name, copied)
