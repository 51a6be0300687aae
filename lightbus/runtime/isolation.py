"""Each message in a context of its own, without a task of its own."""

from __future__ import annotations

import decimal
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from types import coroutine
from typing import Any, Union

from .threads.call import ThreadCall

#: The variable in which ``decimal`` keeps its precision: in an object that is changed in place.
_DECIMAL = "decimal_context"

#: The rest of a coroutine that has been taken a step further: nothing; a call of a function in a thread,
#: after which :func:`go_on` takes it further; or something to await, which returns the rest after that.
Left = Union[None, ThreadCall, "Awaitable[Left]"]


class Isolation:
    """Runs coroutines so that no one sees the context variables that another one sets.

    Each begins with those that were set where this was made.
    """

    def __init__(self) -> None:
        self._base = copy_context()
        self._decimal: ContextVar[Any] | None = next((v for v in self._base if v.name == _DECIMAL), None)
        if self._decimal is not None and _is_default(self._base[self._decimal]):
            # Those who ask for it get a new one like it, and others need not pay for a copy.
            self._base, self._decimal = _without(self._base, self._decimal), None

    def context(self) -> Context:
        """Return a new context to begin with."""
        context = self._base.copy()
        if self._decimal is not None:
            context.run(self._decimal.set, self._base[self._decimal].copy())
        return context

    def begin(self, work: Coroutine[Any, Any, None]) -> Left:
        """Run a coroutine in the running task, but in a context of its own, until it first waits.

        Returns:
            What is left; None if it has returned: quick code costs no more than a call.
        """
        return _step(self.context(), work, work.send, None)

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that calls nothing in threads in the running task, but in a context of its own."""
        left = self.begin(work)
        while left is not None:
            left = await left


def _is_default(context: decimal.Context) -> bool:
    """Tell whether a precision and all that goes with it are what ``decimal`` itself begins with."""
    present, default = context.copy(), decimal.DefaultContext.copy()
    present.clear_flags()
    default.clear_flags()
    return repr(present) == repr(default)


def _without(context: Context, left_out: ContextVar[Any]) -> Context:
    """Return a context in which a variable is not set, and all others are as in another one."""
    made = Context()
    for variable, value in context.items():
        if variable is not left_out:
            made.run(variable.set, value)
    return made


def go_on(call: ThreadCall, waiter: Awaitable[None] | None = None) -> Left:
    """Take the coroutine of a call further in the running task.

    Args:
        call: The call, which has ended.
        waiter: For a call that has not: awaited by the coroutine until it has.
    """
    return _step(call.context, call.work, call.work.send, waiter)


def give_up(call: ThreadCall, error: BaseException) -> Left:
    """Let the coroutine of a call end by an error, in the running task."""
    return _step(call.context, call.work, call.work.throw, error)


def _step(context: Context, work: Coroutine[Any, Any, None], step: Callable[[Any], Any], given: Any) -> Left:
    try:
        awaited = context.run(step, given)
    except StopIteration:
        return None
    if type(awaited) is ThreadCall:
        awaited.context, awaited.work = context, work
        return awaited
    return _rest(context, work, awaited)


@coroutine
def _rest(context: Context, work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, Left]:
    """Let the running task wait for what a coroutine awaits, and take each further step in its context."""
    while True:
        step: Callable[[Any], Any] = work.send
        given: Any = None
        try:
            given = yield awaited
        except GeneratorExit:
            context.run(work.close)
            raise
        except BaseException as e:
            step, given = work.throw, e
        try:
            awaited = context.run(step, given)
        except StopIteration:
            return None
        if type(awaited) is ThreadCall:
            awaited.context, awaited.work = context, work
            return awaited
