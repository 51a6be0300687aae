"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.05
#: Seconds. They are spent only where a test fails, so they are many: a busy machine is no fault.
PATIENCE = 60.0


def eventually(condition: Callable[[], T], timeout: float = PATIENCE, what: str = "") -> T:
    """Ask until the answer is true, and return it; fail the test after `timeout` seconds.

    An AssertionError raised by the condition counts as "not yet", and is shown when time is up.
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        answer, error = _ask(condition)
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise _too_late(condition, timeout, what, answer) from error
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


@overload
async def eventually_async(
    condition: Callable[[], Awaitable[T]], timeout: float = ..., what: str = ...
) -> T: ...


@overload
async def eventually_async(condition: Callable[[], T], timeout: float = ..., what: str = ...) -> T: ...


async def eventually_async(condition: Callable[[], Any], timeout: float = PATIENCE, what: str = "") -> Any:
    """The same on an event loop, which goes on meanwhile; the condition may be a coroutine function."""
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        answer, error = _ask(condition)
        if isinstance(answer, Awaitable):
            try:
                answer = await answer
            except AssertionError as raised:
                answer, error = None, raised
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise _too_late(condition, timeout, what, answer) from error
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _ask(condition: Callable[[], T]) -> tuple[T | None, AssertionError | None]:
    try:
        return condition(), None
    except AssertionError as error:
        return None, error


def _too_late(condition: object, timeout: float, what: str, answer: object) -> AssertionError:
    name = what or getattr(condition, "__name__", repr(condition))
    return AssertionError(f"after {timeout:g} s still not: {name} (last answer: {answer!r})")
