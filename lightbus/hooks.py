"""The hooks: their names, in one place, and the callbacks behind each, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .pool import HandlerPool

Callback = Callable[..., Any]

#: Every hook, with the keyword arguments that its callbacks get besides ``client``.
HOOKS: dict[str, tuple[str, ...]] = {
    "before_worker_start": (),
    "after_worker_stopped": (),
    "before_rpc_call": ("rpc_message",),
    "after_rpc_call": ("rpc_message", "result_message"),
    "before_rpc_execution": ("rpc_message",),
    "after_rpc_execution": ("rpc_message", "result_message"),
    "before_event_sent": ("event_message",),
    "after_event_sent": ("event_message",),
    "before_event_execution": ("event_message",),
    "after_event_execution": ("event_message",),
}


class Hooks:
    """The callbacks of one bus. A hook without callbacks is an empty tuple: test it before running it.

    Args:
        pool: Where callbacks that are plain functions run.
    """

    def __init__(self, pool: HandlerPool) -> None:
        self._pool = pool
        self._early: dict[str, list[Callback]] = {name: [] for name in HOOKS}
        self._late: dict[str, list[Callback]] = {name: [] for name in HOOKS}
        self.before_worker_start: tuple[Callback, ...] = ()
        self.after_worker_stopped: tuple[Callback, ...] = ()
        self.before_rpc_call: tuple[Callback, ...] = ()
        self.after_rpc_call: tuple[Callback, ...] = ()
        self.before_rpc_execution: tuple[Callback, ...] = ()
        self.after_rpc_execution: tuple[Callback, ...] = ()
        self.before_event_sent: tuple[Callback, ...] = ()
        self.after_event_sent: tuple[Callback, ...] = ()
        self.before_event_execution: tuple[Callback, ...] = ()
        self.after_event_execution: tuple[Callback, ...] = ()

    def add(self, name: str, callback: Callback, *, before_plugins: bool = False) -> None:
        """Register a callback.

        Args:
            name: One of :data:`HOOKS`.
            callback: A function, plain or async, that takes the hook's keyword arguments.
            before_plugins: Whether it runs before those that were registered without this.
        """
        (self._early if before_plugins else self._late)[name].append(callback)
        setattr(self, name, (*self._early[name], *self._late[name]))

    async def run(self, callbacks: tuple[Callback, ...], **kwargs: Any) -> None:
        """Run the callbacks of a hook one after the other; what one raises goes to the caller."""
        for callback in callbacks:
            await self._pool.invoke(callback, **kwargs)
