"""Each message in a context of its own, without a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: The variable in which ``decimal`` keeps its precision: in an object that is changed in place.
_DECIMAL = "decimal_context"


class Isolation:
    """Runs coroutines so that the context variables that one sets are there for no other one.

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

    def run(self, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Return what runs a coroutine in the running task, but in a context of its own."""
        return _steps(self.context(), work)


@coroutine
def _steps(context: Context, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Take each step of a coroutine within a context, and let the running task wait for what it awaits."""
    step: Callable[[Any], Any] = work.send
    given: Any = None
    while True:
        try:
            awaited = context.run(step, given)
        except StopIteration as e:
            return e.value  # type: ignore[no-any-return]
        finally:
            given = None
        try:
            given = yield awaited
            step = work.send
        except GeneratorExit:
            context.run(work.close)
            raise
        except BaseException as e:
            step, given = work.throw, e
