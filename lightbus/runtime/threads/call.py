"""A call of a plain function in a thread, for which no task has to wait."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

#: Types of results that surely can't be awaited: a quick look spares others a slow one.
_PLAIN = frozenset({bool, int, float, str, bytes, dict, list, tuple, set})


class ThreadCall:
    """A call of a plain function. The coroutine that awaits it is taken further when it has ended.

    Only a coroutine that :class:`~lightbus.runtime.isolation.Isolation` runs may await it. Whoever runs that
    gets the call, with the coroutine in it, and gives it to a :class:`~.lane.Lane`. So no task waits for it.

    Args:
        function: The function.
        args: Its arguments without a name; those by name are set before this is awaited.
        is_bound: Whether the task that begins the coroutine is to wait, and to end it.
    """

    __slots__ = (
        *("args", "context", "error", "function", "goes_on", "is_bound", "is_over", "kwargs"),
        *("result", "seconds", "waiter", "work"),
    )

    context: Context
    work: Coroutine[Any, Any, None]

    def __init__(self, function: Callable[..., Any], *args: Any, is_bound: bool = False) -> None:
        self.function = function
        self.args = args
        self.kwargs: dict[str, Any] = {}
        self.is_bound = is_bound
        self.result: Any = None
        self.error: BaseException | None = None
        #: Whether more than the usual follows: an error is settled, a result that can be awaited is awaited.
        #: The function may be a decorator that hides an ``async`` one.
        self.goes_on = False
        #: How long the function has run; 0 before.
        self.seconds = 0.0
        #: Set by the event loop once it knows the outcome, or has given up the call.
        self.is_over = False
        #: What the task of a bound call waits for.
        self.waiter: asyncio.Future[None] | None = None

    def fail(self, error: BaseException) -> None:
        """Have the coroutine raise an error."""
        self.error = error
        self.goes_on = True

    def run(self) -> None:
        """Call the function: in a thread, and in a copy of the context of its coroutine."""
        try:
            # The coroutine may be ended meanwhile, and needs its context for that.
            self.result = result = self.context.copy().run(self.function, *self.args, **self.kwargs)
        except StopIteration as e:
            # A coroutine can't raise it.
            error = RuntimeError(f"{self.function!r} raised StopIteration")
            error.__cause__ = e
            self.fail(error)
        except BaseException as e:
            self.fail(e)
        else:
            if result is not None and type(result) not in _PLAIN:
                self.goes_on = inspect.isawaitable(result)

    def __await__(self) -> Generator[Any, Any, Any]:
        waiter = yield self
        if waiter is not None:
            yield from waiter
        if self.error is None:
            return self.result
        try:
            raise self.error
        finally:
            # Its traceback would hold this call, and all that is in it, until the garbage is collected.
            self.error = None
