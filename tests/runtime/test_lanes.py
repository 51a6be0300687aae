"""Plain functions run in threads, of which one takes many; nothing else changes for their messages."""

from __future__ import annotations

import asyncio
import inspect
import statistics
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from lightbus.runtime.cancellation import is_cancelled
from lightbus.runtime.isolation import Isolation
from lightbus.runtime.threads import lane
from lightbus.runtime.threads.call import ThreadCall
from lightbus.runtime.threads.pool import HandlerPool
from lightbus.worker.slots import Slots
from tests.support.eventually import eventually_async

PATIENCE = 60.0
variable: ContextVar[str] = ContextVar("variable", default="unset")


class Surroundings:
    """Makes and ends what runs are in, and counts it.

    Args:
        fails_at: The numbers of those that can't be made, or by a negative number, ended.
    """

    def __init__(self, fails_at: Sequence[int] = ()) -> None:
        self.made = self.ended = 0
        self._fails_at = fails_at

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.made += 1
        if self.made in self._fails_at:
            raise RuntimeError("can't begin")
        yield
        self.ended += 1
        if -self.made in self._fails_at:
            raise RuntimeError("can't end")


class Crew:
    """Slots whose items call one plain function, and what becomes of each item.

    Args:
        function: Gets the item.
        items: All of them.
        limit: The most at a time.
        bound: Whether the task that begins an item ends it.
    """

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any], limit: int, bound: bool) -> None:
        self.pool = HandlerPool()
        self.items = list(items)
        self.function = function
        self.bound = bound
        self.outcomes: dict[Any, Any] = {}
        self.seconds: dict[Any, float] = {}
        self.left: list[Any] = []
        self.has_ended = False
        self.tasks: dict[Any, list[Any]] = {}
        #: Awaited by each item that has failed.
        self.settling = asyncio.Event()
        self.settling.set()
        isolation = Isolation()
        self.slots: Slots[Any] = Slots(
            "test", isolation, self.pool, self._take, self._handle, self._leave, limit, 100
        )
        # All are taken at once. How many are so later depends on how long those before them took.
        self.slots._seconds = 1e-6

    async def _take(self, most: int) -> Sequence[Any]:
        taken, self.items = self.items[:most], self.items[most:]
        if not taken:
            await asyncio.sleep(0.001)
        return taken

    async def _handle(self, item: Any) -> None:
        call = ThreadCall(self.function, item, is_bound=self.bound)
        self.tasks[item] = [asyncio.current_task()]
        try:
            result = await call
            self.outcomes[item] = await result if inspect.isawaitable(result) else result
        except BaseException as e:
            if is_cancelled(e):
                self.left.append(item)
                raise
            self.outcomes[item] = e
            await self.settling.wait()
        finally:
            self.tasks[item].append(asyncio.current_task())
        self.seconds[item] = call.seconds

    async def _leave(self, item: Any) -> None:
        self.left.append(item)

    async def end(self, patience: float = PATIENCE) -> int:
        """Take nothing more, and finish what runs; return how many are left behind. Only once."""
        if self.has_ended:
            return 0
        self.has_ended = True
        await self.slots.stop()
        return await self.slots.finish(patience)


@asynccontextmanager
async def at_work(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    limit: int = 1,
    bound: bool = False,
    around: Callable[[], Any] | None = None,
) -> AsyncIterator[Crew]:
    """A crew that works on items, and ends in good order after that."""
    crew = Crew(function, items, limit, bound)
    crew.pool.around = around
    running = asyncio.create_task(crew.slots.run())
    yield crew
    await crew.end()
    await running
    crew.pool.close()


async def over(crew: Crew, count: int) -> None:
    """Wait until so many items have an outcome."""
    await eventually_async(lambda: len(crew.outcomes) == count)


async def passed_by(crew: Crew) -> None:
    """Give the crew time for what it must not do."""
    await asyncio.sleep(0.02)
    assert crew.slots.running


# Runs


async def test_a_thread_takes_what_is_there_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_LONGEST_RUN", PATIENCE)
    taken = []

    def note(item: int) -> int:
        taken.append(item)
        return -item

    surroundings = Surroundings()
    async with at_work(note, range(100), around=surroundings) as crew:
        await over(crew, 100)
    assert taken == list(range(100))
    assert crew.outcomes == {n: -n for n in range(100)}
    assert surroundings.made == 1


async def test_a_run_ends_before_its_surroundings_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_LONGEST_RUN", 0.0)
    surroundings = Surroundings()
    async with at_work(str, range(20), around=surroundings) as crew:
        await over(crew, 20)
    assert surroundings.made == surroundings.ended == 20


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_run_at_a_time_than_may(limit: int) -> None:
    running: set[int] = set()
    as_many_as_may = threading.Event()
    most = 0

    def work(item: int) -> None:
        nonlocal most
        running.add(item)
        most = max(most, len(running))
        if most == limit:
            as_many_as_may.set()
        as_many_as_may.wait(PATIENCE)
        time.sleep(0.002)
        running.remove(item)

    async with at_work(work, range(30), limit=limit) as crew:
        await over(crew, 30)
        assert crew.slots.running == 0
    assert most == limit


async def test_slow_functions_run_side_by_side() -> None:
    all_there = threading.Barrier(8)
    async with at_work(lambda _: all_there.wait(PATIENCE), range(8), limit=8) as crew:
        await over(crew, 8)
    assert sorted(crew.outcomes.values()) == list(range(8))


async def test_one_that_blocks_holds_up_neither_the_finished_nor_those_behind_it() -> None:
    others_are_over = threading.Event()

    def work(item: int) -> bool:
        return item != 10 or others_are_over.wait(PATIENCE)

    async with at_work(work, range(100), limit=2) as crew:
        await over(crew, 99)
        assert crew.slots.running == 1
        others_are_over.set()
        await over(crew, 100)
    assert all(crew.outcomes.values())


async def test_the_finished_are_told_of_while_the_only_thread_blocks() -> None:
    others_are_over = threading.Event()

    def work(item: int) -> bool:
        return item != 10 or others_are_over.wait(PATIENCE)

    async with at_work(work, range(100)) as crew:
        await over(crew, 10)
        others_are_over.set()
        await over(crew, 100)
    assert all(crew.outcomes.values())


async def test_more_may_run_at_a_time_from_now_on() -> None:
    both_there = threading.Barrier(2)
    async with at_work(lambda _: both_there.wait(PATIENCE), range(2)) as crew:
        await eventually_async(lambda: both_there.n_waiting == 1)
        crew.slots.resize(2)
        await over(crew, 2)
    assert sorted(crew.outcomes.values()) == [0, 1]


class AtOnce(HandlerPool):
    """Its threads have done all that waits before whoever starts them goes on."""

    def start(self, run: Callable[[], None]) -> None:
        """Run it."""
        run()


async def test_threads_may_be_done_before_the_loop_looks_again(caplog: pytest.LogCaptureFixture) -> None:
    crew = Crew(str, range(3), limit=2, bound=False)
    crew.pool = AtOnce()
    crew.slots._lane._pool = crew.pool
    running = asyncio.create_task(crew.slots.run())
    await over(crew, 3)
    await crew.end()
    await running
    assert caplog.messages == []


# Each message by itself


async def test_each_has_a_context_of_its_own() -> None:
    def look(item: int) -> str:
        before = variable.get()
        variable.set(f"of {item}")
        return before

    variable.set("of the host")
    async with at_work(look, range(20), limit=2) as crew:
        await over(crew, 20)
    assert set(crew.outcomes.values()) == {"of the host"}


async def test_the_time_of_each_is_that_of_its_function() -> None:
    def work(item: int) -> None:
        time.sleep(0.5 if item == 0 else 0)

    async with at_work(work, range(20)) as crew:
        await over(crew, 20)
    assert crew.seconds.pop(0) >= 0.5
    # A busy machine may hold up some of them, but not most.
    assert statistics.median(crew.seconds.values()) < 0.25


async def test_a_result_that_can_be_awaited_is_awaited_on_the_loop_and_keeps_its_place() -> None:
    may_end = asyncio.Event()
    begun = []

    async def wait(item: int) -> int:
        await may_end.wait()
        return item

    def hide(item: int) -> Any:
        begun.append(item)
        return wait(item) if item >= 90 else item

    async with at_work(hide, range(100)) as crew:
        await eventually_async(lambda: begun == list(range(91)) and not crew.items)
        await passed_by(crew)
        assert begun == list(range(91))
        may_end.set()
        await over(crew, 100)
    assert crew.outcomes == {n: n for n in range(100)}


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError, KeyboardInterrupt])
async def test_an_error_is_that_of_its_own_message(error: type[BaseException]) -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise error(item)
        return item

    async with at_work(fail, range(6)) as crew:
        await over(crew, 6)
    assert type(crew.outcomes.pop(3)) is error
    assert crew.outcomes == {n: n for n in (0, 1, 2, 4, 5)}


async def test_stop_iteration_is_told_by_another_error() -> None:
    async with at_work(lambda _: next(iter(())), [0]) as crew:
        await over(crew, 1)
    assert type(crew.outcomes[0]) is RuntimeError
    assert "raised StopIteration" in str(crew.outcomes[0])


async def test_the_next_begins_after_a_failure_has_been_settled_and_with_new_surroundings() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 90:
            raise ValueError

    surroundings = Surroundings()
    async with at_work(work, range(100), around=surroundings) as crew:
        crew.settling.clear()
        await eventually_async(lambda: 90 in crew.outcomes and not crew.items)
        await passed_by(crew)
        assert begun == list(range(91))
        made = surroundings.made
        crew.settling.set()
        await over(crew, 100)
    assert surroundings.made > made


async def test_a_bound_one_is_begun_and_ended_by_one_task_and_alone() -> None:
    async with at_work(str, range(40), limit=2, bound=True) as crew:
        await over(crew, 40)
    assert all(began is ended for began, ended in crew.tasks.values())
    assert len({began for began, _ in crew.tasks.values()}) <= 2


# Surroundings


async def test_what_can_not_be_surrounded_fails_and_the_next_is_tried() -> None:
    surroundings = Surroundings(fails_at=[1])
    async with at_work(str, [0, 1], around=surroundings) as crew:
        await over(crew, 2)
    assert (str(crew.outcomes[0]), crew.outcomes[1]) == ("can't begin", "1")


async def test_surroundings_that_fail_at_their_end_fail_no_message(caplog: pytest.LogCaptureFixture) -> None:
    async with at_work(str, [0, 1], around=Surroundings(fails_at=[-1])) as crew:
        await over(crew, 2)
    assert crew.outcomes == {0: "0", 1: "1"}
    assert "what surrounds functions in threads failed at its end" in caplog.text


# The end


@pytest.mark.parametrize("bound", [False, True])
async def test_those_that_have_not_begun_are_left_at_once_and_the_one_that_runs_is_finished(
    bound: bool,
) -> None:
    may_end = threading.Event()
    begun = []

    def work(item: int) -> bool:
        begun.append(item)
        return item != 90 or may_end.wait(PATIENCE)

    async with at_work(work, range(100), bound=bound) as crew:
        await over(crew, 90)
        await eventually_async(lambda: 90 in begun and not crew.items)
        await crew.slots.stop()
        await eventually_async(lambda: sorted(crew.left) == list(range(91, 100)))
        assert 90 not in crew.outcomes
        may_end.set()
    assert crew.outcomes[90] is True


@pytest.mark.parametrize("bound", [False, True])
async def test_one_that_does_not_end_is_left_behind_as_if_its_task_was_ended(bound: bool) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def work(_: int) -> bool:
        has_begun.set()
        return may_end.wait(PATIENCE)

    async with at_work(work, [0], bound=bound) as crew:
        await eventually_async(has_begun.is_set)
        assert await crew.end(0.01) == 1
        assert crew.left == [0]
        assert crew.slots.running == 0
        assert crew.pool.running == 1
        may_end.set()
        await eventually_async(lambda: crew.pool.running == 0)
    assert crew.outcomes == {}


async def test_a_thread_that_outlives_its_event_loop_ends_in_peace() -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    crews = []

    def work(_: int) -> bool:
        has_begun.set()
        return may_end.wait(PATIENCE)

    async def leave_behind() -> None:
        async with at_work(work, [0]) as crew:
            crews.append(crew)
            await eventually_async(has_begun.is_set)
            await crew.end(0.01)

    await asyncio.to_thread(asyncio.run, leave_behind())
    may_end.set()
    await eventually_async(lambda: crews[0].pool.running == 0)
