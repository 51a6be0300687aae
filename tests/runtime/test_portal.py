"""Coroutines that an event loop runs for a thread, which waits: results, errors, and ends of all kinds."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from lightbus.exceptions import BusAlreadyClosed, LightbusTimeout
from lightbus.runtime.portal import Portal, run_blocking
from tests.support.eventually import eventually

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def portal() -> Iterator[Portal]:
    """A portal of this test's own."""
    portal = Portal()
    yield portal
    portal.stop()


def wait_for(portal: Portal, function: Any, *args: Any) -> Any:
    return run_blocking(portal.loop(), function, *args, blocking="bus.a.b(...)", awaitable="...")


def test_a_thread_gets_what_the_coroutine_returns_or_raises(portal: Portal) -> None:
    async def divide(a: int, b: int) -> float:
        await asyncio.sleep(0)
        return a / b

    async def expire() -> None:
        raise LightbusTimeout("too late", "no")

    assert wait_for(portal, divide, 3, 2) == 1.5
    with pytest.raises(ZeroDivisionError):
        wait_for(portal, divide, 3, 0)
    with pytest.raises(LightbusTimeout, match="too late") as caught:
        wait_for(portal, expire)
    frames = [frame.name for frame in caught.traceback]
    assert "expire" in frames, "code of others on its way is shown"


def test_an_error_is_gone_with_its_last_user(portal: Portal) -> None:
    class Own(Exception):
        pass

    async def fail() -> None:
        raise Own

    def see() -> weakref.ref[Own]:
        try:
            wait_for(portal, fail)
        except Own as e:
            return weakref.ref(e)
        raise AssertionError

    gc.disable()
    try:
        seen = see()
        wait_for(portal, asyncio.sleep, 0)  # The loop itself forgets the task a turn later.
        assert seen() is None
    finally:
        gc.enable()


def test_the_coroutine_sees_the_context_of_the_thread_and_leaves_it_alone(portal: Portal) -> None:
    async def see() -> str:
        seen = VARIABLE.get()
        VARIABLE.set("of the coroutine")
        return seen

    VARIABLE.set("of the thread")
    assert [wait_for(portal, see), wait_for(portal, see)] == ["of the thread"] * 2
    assert VARIABLE.get() == "of the thread"


def test_many_threads_wait_at_the_same_time(portal: Portal) -> None:
    gate: list[asyncio.Event] = []

    async def pass_through(number: int) -> int:
        gate[0].set() if number == 7 else await gate[0].wait()
        return number

    async def make_gate() -> None:
        gate.append(asyncio.Event())

    wait_for(portal, make_gate)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(wait_for(portal, pass_through, n)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == list(range(8))


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_would_end_the_loop_is_raised_where_it_is_waited_for_and_the_loop_goes_on(
    portal: Portal, error: type[BaseException]
) -> None:
    async def leave() -> None:
        raise error

    async def stay() -> str:
        return "here"

    with pytest.raises(error):
        wait_for(portal, leave)
    assert wait_for(portal, stay) == "here"


def test_who_waits_hears_that_the_bus_was_closed(portal: Portal) -> None:
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    def stop() -> None:
        begun.wait(30)
        portal.stop()

    threading.Thread(target=stop).start()
    with pytest.raises(BusAlreadyClosed, match=r"the bus was closed while bus\.a\.b\(\.\.\.\) waited"):
        wait_for(portal, work)


def test_who_waits_hears_of_an_end_that_comes_before_the_beginning(portal: Portal) -> None:
    """A task that is cancelled before its first step never reaches its own code."""
    begun: list[bool] = []

    def ended_at_once(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **more)
        task.cancel()
        return task

    async def work() -> None:
        begun.append(True)

    portal.loop().set_task_factory(ended_at_once)
    with pytest.raises(BusAlreadyClosed):
        wait_for(portal, work)
    assert not begun
    portal.loop().set_task_factory(None)


@pytest.mark.parametrize("is_taken_by", ["this thread", "another thread"])
def test_ctrl_c_in_a_thread_that_waits_cancels_the_coroutine(portal: Portal, is_taken_by: str) -> None:
    ended: list[str] = []
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    def interrupt() -> None:
        begun.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Whatever runs this test has set.
    try:
        threading.Thread(target=interrupt).start()
        if is_taken_by == "another thread":
            # As where it comes before this one sleeps: its sleep does not end.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with pytest.raises(KeyboardInterrupt):
            wait_for(portal, work)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    eventually(lambda: ended == ["cancelled"])
