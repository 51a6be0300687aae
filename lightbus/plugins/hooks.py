"""The hooks: their names, in one place, and the callbacks behind each, in order."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any

from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.runtime.cancellation import is_cancelled
from lightbus.runtime.threads.pool import HandlerPool

Callback = Callable[..., Any]

logger = logging.getLogger(__name__)

#: Every hook, with the names of what its callbacks get, besides the client.
HOOKS = {
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
#: Those that only plugins may have; ``around_*`` return a context manager in which the whole of it happens.
PLUGIN_HOOKS = {
    "receive_args": ("args",),
    "before_close": (),
    "exception": ("e",),
    "around_rpc_call": ("rpc_message",),
    "around_rpc_execution": ("rpc_message",),
    "around_event_sent": ("event_message",),
    "around_event_execution": ("event_message", "listener_name"),
}
_WITHOUT_CLIENT = {"receive_args", "exception"}
# Errors in these go to whoever runs them; those in ``after_*`` and the others are only logged.
_MAY_FAIL = {name for name in HOOKS if name.startswith("before_")} | {"receive_args"}

OfProcess = Callable[[], Awaitable[None]] | None
OfCall = Callable[[RpcMessage], Awaitable[None]] | None
OfAnswer = Callable[[RpcMessage, ResultMessage], Awaitable[None]] | None
OfEvent = Callable[[EventMessage], Awaitable[None]] | None
AroundCall = Callable[[RpcMessage], AbstractContextManager[None]] | None


class Hooks:
    """The hooks of one bus: each is a function that runs its callbacks, or None where it has none.

    Test it before calling it, so that a hook without callbacks costs a message nothing else. Errors in
    ``before_*`` hooks go to the caller, and so fail the message; errors in ``after_*`` hooks are only logged.

    Args:
        pool: Runs callbacks that are plain functions.
        client: The bus that callbacks get as ``client``.
    """

    before_worker_start: OfProcess = None
    after_worker_stopped: OfProcess = None
    before_rpc_call: OfCall = None
    after_rpc_call: OfAnswer = None
    before_rpc_execution: OfCall = None
    after_rpc_execution: OfAnswer = None
    before_event_sent: OfEvent = None
    after_event_sent: OfEvent = None
    before_event_execution: OfEvent = None
    after_event_execution: OfEvent = None
    receive_args: Callable[[Namespace], Awaitable[None]] | None = None
    before_close: OfProcess = None
    exception: Callable[[BaseException], Awaitable[None]] | None = None
    around_rpc_call: AroundCall = None
    around_rpc_execution: AroundCall = None
    around_event_sent: Callable[[EventMessage], AbstractContextManager[None]] | None = None
    around_event_execution: Callable[[EventMessage, str], AbstractContextManager[None]] | None = None
    #: Whether the task that begins a message has to end it: its callbacks may rely on that.
    bind_rpc_execution = False
    bind_event_execution = False

    def __init__(self, pool: HandlerPool, client: Any) -> None:
        self._pool = pool
        self._client = client
        self._early: dict[str, list[Callback]] = {}
        self._plugins: dict[str, list[Callback]] = {}
        self._late: dict[str, list[Callback]] = {}
        self._free: set[Callback] = set()

    def add(self, name: str, callback: Callback, *, before_plugins: bool = False, binds: bool = True) -> None:
        """Register a callback.

        Args:
            name: One of :data:`HOOKS`.
            callback: A function, plain or async, that takes the hook's keyword arguments.
            before_plugins: Whether it runs before those of plugins and those registered without this.
            binds: Whether it may rely on the order of messages, and on one task for each.
        """
        if not binds:
            self._free.add(callback)
        (self._early if before_plugins else self._late).setdefault(name, []).append(callback)
        self._arrange(name)

    def set_plugins(self, callbacks: Mapping[str, list[Callback]]) -> None:
        """Have these callbacks of plugins, by hook, and no others.

        Args:
            callbacks: For names of :data:`HOOKS` and :data:`PLUGIN_HOOKS`, in the order in which they run.
        """
        self._plugins = dict(callbacks)
        for name in (*HOOKS, *PLUGIN_HOOKS):
            self._arrange(name)

    def copy(self, other: Hooks) -> None:
        """Have the callbacks that another bus has."""
        self._early = {name: list(callbacks) for name, callbacks in other._early.items()}
        self._late = {name: list(callbacks) for name, callbacks in other._late.items()}
        self._free = set(other._free)
        self.set_plugins(other._plugins)

    def callbacks(self, name: str) -> tuple[Callback, ...]:
        """Return the callbacks of a hook, in the order in which they run."""
        return tuple(
            callback for some in (self._early, self._plugins, self._late) for callback in some.get(name, ())
        )

    async def run(self, name: str, callbacks: Sequence[Callback], *about: Any) -> None:
        """Run callbacks of a hook one after the other.

        Args:
            name: The hook, which says whether errors go to the caller or are only logged.
            callbacks: Some of its callbacks, or what stands for them.
            about: What they get, in the order of the hook's names.
        """
        arguments, may_fail = self._arguments(name, about), name in _MAY_FAIL
        for callback in callbacks:
            try:
                await self._pool.invoke(callback, **arguments)
            except BaseException as e:
                if may_fail or is_cancelled(e):
                    raise
                logger.exception("a callback of %s failed: %s", name, _name(callback))

    async def report(self, error: BaseException) -> None:
        """Tell plugins what user code, or the host itself, has raised."""
        if self.exception:
            await self.exception(error)

    def _arrange(self, name: str) -> None:
        """Make the function that runs the callbacks of a hook."""
        run = self._around if name.startswith("around_") else self.run
        callbacks = self.callbacks(name)
        setattr(self, name, partial(run, name, callbacks) if callbacks else None)
        if name.endswith("_execution"):
            what = name.partition("_")[2]
            around = (self.callbacks(f"{when}_{what}") for when in ("before", "around", "after"))
            setattr(self, f"bind_{what}", any(not self._free.issuperset(some) for some in around))

    def _around(self, name: str, callbacks: Sequence[Callback], *about: Any) -> AbstractContextManager[None]:
        """Return the context managers of an ``around_*`` hook as one.

        Errors at its beginning fail the message. At its end, those of a handler do so, too; those of a caller
        are only logged, since the message is sent already.
        """
        is_handler = name.endswith("_execution")
        return _Nested(callbacks, self._arguments(name, about), fails_at_end=is_handler)

    def _arguments(self, name: str, about: tuple[Any, ...]) -> dict[str, Any]:
        names = HOOKS[name] if name in HOOKS else PLUGIN_HOOKS[name]
        arguments = dict(zip(names, about, strict=True))
        return arguments if name in _WITHOUT_CLIENT else {**arguments, "client": self._client}


class Beside:
    """The context managers of an ``around_*`` hook for a list of messages: beside, not within, each other.

    Args:
        alone: Whether there is only one message: its manager begins in the context that goes on.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self._alone = alone
        self._entered: list[tuple[Callable[..., Any], AbstractContextManager[None]]] = []

    def enter(self, manager: AbstractContextManager[None]) -> None:
        """Begin another one, in a context of its own unless it is alone."""
        run = _run_here if self._alone else copy_context().run
        run(manager.__enter__)
        self._entered.append((run, manager))

    def leave(self, errors: Sequence[BaseException | None]) -> list[BaseException | None]:
        """End all, each with the error of its message.

        Returns:
            The same errors, and those that have come up at the end of a message that had none.
        """
        entered, self._entered = self._entered, []
        outcomes = list(errors)
        for i, ((run, manager), error) in enumerate(zip(entered, errors, strict=False)):
            trace = error.__traceback__ if error is not None else None
            try:
                run(manager.__exit__, type(error) if error is not None else None, error, trace)
            except BaseException as e:
                outcomes[i] = e
        return outcomes


def _run_here(function: Callable[..., Any], *args: Any) -> None:
    function(*args)


class _Nested(AbstractContextManager[None]):
    """Context managers within each other, none of which can make a success of what has failed."""

    __slots__ = ("_callbacks", "_entered", "_fails_at_end", "_kwargs")

    def __init__(self, callbacks: Sequence[Callback], kwargs: dict[str, Any], *, fails_at_end: bool) -> None:
        self._callbacks = callbacks
        self._kwargs = kwargs
        self._fails_at_end = fails_at_end
        self._entered: list[tuple[Callback, AbstractContextManager[Any]]] = []

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
