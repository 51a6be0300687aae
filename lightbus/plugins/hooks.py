"""The hooks: their names, in one place, and the callbacks behind each, in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any

from lightbus.runtime.cancellation import is_cancelled
from lightbus.runtime.pool import HandlerPool

Callback = Callable[..., Any]
Around = Callable[..., AbstractContextManager[Any]]

logger = logging.getLogger(__name__)

#: Every hook; what its callbacks get is in the signature of :class:`~lightbus.plugins.LightbusPlugin`.
HOOKS = (
    *("before_worker_start", "after_worker_stopped"),
    *("before_rpc_call", "after_rpc_call", "before_rpc_execution", "after_rpc_execution"),
    *("before_event_sent", "after_event_sent", "before_event_execution", "after_event_execution"),
)

#: Hooks that only plugins may have; those that begin with ``around_`` return a context manager in which the
#: whole of it happens.
PLUGIN_HOOKS = (
    *("receive_args", "before_close", "exception"),
    *("around_rpc_call", "around_rpc_execution", "around_event_sent", "around_event_execution"),
)
_NONE: tuple[Callback, ...] = ()
_NONE_AROUND: tuple[Around, ...] = ()


class Hooks:
    """The callbacks of one bus. A hook without callbacks is an empty tuple: test it before running it.

    Errors in ``before_*`` hooks go to the caller, and so fail the message. Errors in ``after_*`` hooks are
    only logged.

    Args:
        pool: Runs callbacks that are plain functions.
    """

    before_worker_start = after_worker_stopped = _NONE
    before_rpc_call = after_rpc_call = before_rpc_execution = after_rpc_execution = _NONE
    before_event_sent = after_event_sent = before_event_execution = after_event_execution = _NONE
    receive_args = before_close = exception = _NONE
    around_rpc_call = around_rpc_execution = around_event_sent = around_event_execution = _NONE_AROUND

    def __init__(self, pool: HandlerPool) -> None:
        self._pool = pool
        self._early: dict[str, list[Callback]] = {name: [] for name in HOOKS}
        self._plugins: dict[str, list[Callback]] = {name: [] for name in (*HOOKS, *PLUGIN_HOOKS)}
        self._late: dict[str, list[Callback]] = {name: [] for name in HOOKS}
        self.set_plugins({})

    def add(self, name: str, callback: Callback, *, before_plugins: bool = False) -> None:
        """Register a callback.

        Args:
            name: One of :data:`HOOKS`.
            callback: A function, plain or async, that takes the hook's keyword arguments.
            before_plugins: Whether it runs before those of plugins and those registered without this.
        """
        (self._early if before_plugins else self._late)[name].append(callback)
        self._arrange(name)

    def set_plugins(self, callbacks: dict[str, list[Callback]]) -> None:
        """Have these callbacks of plugins, by hook, and no others.

        Args:
            callbacks: For names of :data:`HOOKS` and :data:`PLUGIN_HOOKS`, in the order in which they run.
        """
        for name in self._plugins:
            self._plugins[name] = callbacks.get(name, [])
            self._arrange(name)

    def _arrange(self, name: str) -> None:
        plugins = self._plugins[name]
        setattr(self, name, (*self._early.get(name, ()), *plugins, *self._late.get(name, ())))

    async def run(self, callbacks: tuple[Callback, ...], **kwargs: Any) -> None:
        """Run the callbacks of a hook one after the other; what one raises goes to the caller."""
        for callback in callbacks:
            await self._pool.invoke(callback, **kwargs)

    async def run_after(self, name: str, callbacks: tuple[Callback, ...], **kwargs: Any) -> None:
        """Run all callbacks of a hook that comes after the fact; what one raises is logged."""
        for callback in callbacks:
            try:
                await self._pool.invoke(callback, **kwargs)
            except BaseException as e:
                if is_cancelled(e):
                    raise
                logger.exception("a callback of %s failed: %s", name, _name(callback))

    async def report(self, error: BaseException) -> None:
        """Tell plugins what user code, or the host itself, has raised."""
        if self.exception:
            await self.run_after("exception", self.exception, e=error)

    def around(self, callbacks: tuple[Around, ...], **kwargs: Any) -> AbstractContextManager[None]:
        """Return the context managers of an ``around_*`` hook of a caller as one.

        An error at its beginning goes to the caller. An error at its end is only logged, since the message is
        sent already.
        """
        return _Nested(callbacks, kwargs, fails_at_end=False)

    def around_execution(self, callbacks: tuple[Around, ...], **kwargs: Any) -> AbstractContextManager[None]:
        """Return the context managers of an ``around_*`` hook of a handler as one.

        An error at its beginning or its end fails the message.
        """
        return _Nested(callbacks, kwargs, fails_at_end=True)


class Beside:
    """The context managers of an ``around_*`` hook for a list of messages: beside, not within, each other."""

    def __init__(self) -> None:
        self._entered: list[tuple[Context, AbstractContextManager[None]]] = []

    def enter(self, manager: AbstractContextManager[None]) -> None:
        """Begin another one, in a context of its own."""
        context = copy_context()
        context.run(manager.__enter__)
        self._entered.append((context, manager))

    def leave(self, errors: Sequence[BaseException | None]) -> list[BaseException | None]:
        """End all, each with the error of its message.

        Returns:
            The same errors, and those that have come up at the end of a message that had none.
        """
        entered, self._entered = self._entered, []
        outcomes = list(errors)
        for i, ((context, manager), error) in enumerate(zip(entered, errors, strict=False)):
            trace = error.__traceback__ if error is not None else None
            try:
                context.run(manager.__exit__, type(error) if error is not None else None, error, trace)
            except BaseException as e:
                outcomes[i] = e
        return outcomes


class _Nested(AbstractContextManager[None]):
    """Context managers within each other, none of which can make a success of what has failed."""

    __slots__ = ("_callbacks", "_entered", "_fails_at_end", "_kwargs")

    def __init__(self, callbacks: tuple[Around, ...], kwargs: dict[str, Any], *, fails_at_end: bool) -> None:
        self._callbacks = callbacks
        self._kwargs = kwargs
        self._fails_at_end = fails_at_end
        self._entered: list[tuple[Around, AbstractContextManager[Any]]] = []

    def __enter__(self) -> None:
        for callback in self._callbacks:
            try:
                manager = callback(**self._kwargs)
                manager.__enter__()
            except BaseException as e:
                self.__exit__(type(e), e, e.__traceback__)
                raise
            self._entered.append((callback, manager))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure: BaseException | None = None
        while self._entered:
            callback, manager = self._entered.pop()
            try:
                manager.__exit__(kind, error, trace)
            except BaseException as e:
                if error is None and self._fails_at_end:
                    # Those around it are told as if the handler had failed, since its message has.
                    kind, error, trace, failure = type(e), e, e.__traceback__, e
                elif e is not error:
                    logger.exception("the end of a context manager failed: %s", _name(callback))
        if failure is not None:
            raise failure


def _name(callback: Callback) -> str:
    return f"{getattr(callback, '__module__', '')}.{getattr(callback, '__qualname__', callback)}"
