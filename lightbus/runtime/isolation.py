"""Each message in a context of its own, without a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from types import coroutine
from typing import Any

#: The variable in which ``decimal`` keeps its precision: in an object that is changed in place.
_DECIMAL = "decimal_context"


class Isolation:
    """Runs coroutines so that no one sees the context variables that another one sets.

    Each begins with those that were set where this was made.
    """

    def __init__(self) -> None:
        self._base = copy_context()
        self._decimal: ContextVar[Any] | None = next((v for v in self._base if v.name == _DECIMAL), None)

    def context(self) -> Context:
        """Return a new context to begin with."""
        context = self._base.copy()
        if self._decimal is not None:
            context.run(self._decimal.set, self._base[self._decimal].copy())
        return context

    def begin(self, work: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
        """Run a coroutine in the running task, but in a context of its own, until it first waits.

        Returns:
            The rest of it, to be awaited; None if it has returned: quick code costs no more than a call.
        """
        context = self.context()
        try:
            awaited = context.run(work.send, None)
        except StopIteration:
            return None
        return _rest(context, work, awaited)

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the running task, but in a context of its own."""
        rest = self.begin(work)
        if rest is not None:
            await rest


@coroutine
def _rest(context: Context, work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
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
            return
