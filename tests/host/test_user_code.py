"""How handlers run: wrapped, each in a context of its own, and whatever they do to their task."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lightbus import Api, Backoff, BusPath, DeliveryPolicy, Event, EventMessage, Parameter
from lightbus.exceptions import LightbusWorkerError, NoWorker
from lightbus.options import Duration
from tests.contracts.buses import bus_of, hosted
from tests.support.eventually import eventually_async
from tests.support.servers import Server

tenant = contextvars.ContextVar("tenant", default="nobody")
span = contextvars.ContextVar("span", default="none")
QUICK = DeliveryPolicy(attempts=2, backoff=Backoff(initial=Duration(0.01), jitter=False))
seen: list[Any] = []


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do as many decorators do, behind which nobody sees that the function is async."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def read() -> list[str]:
    """What the context of a message holds, and dirty it for the next one."""
    found = [tenant.get(), span.get(), str(decimal.Decimal(1) / 3)]
    tenant.set("ada")
    decimal.getcontext().prec = 3
    return found


async def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(5)


async def cancel_itself_and_raise() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    raise ValueError("no")


async def be_cancelled() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    await asyncio.sleep(5)


async def leave(error: type[BaseException]) -> None:
    raise error


ENDS: dict[str, Callable[[], Any]] = {
    "cancels itself": cancel_itself,
    "cancels itself and raises": cancel_itself_and_raise,
    "is cancelled": be_cancelled,
    **{e.__name__: functools.partial(leave, e) for e in (GeneratorExit, KeyboardInterrupt, SystemExit)},
}


class ShopApi(Api):
    sold = Event((Parameter("sku", str),))

    class Meta:
        name = "shop"
        auto_register = False

    @wrapped
    async def hidden(self) -> int:
        await asyncio.sleep(0)
        return 1

    async def context(self) -> list[str]:
        return read()

    def context_in_a_thread(self) -> list[str]:
        return read()

    async def end(self, how: str) -> None:
        await ENDS[how]()


@pytest.fixture(params=["memory", "redis"])
def bus(request: pytest.FixtureRequest) -> Iterator[BusPath]:
    """A bus over each transport."""
    seen.clear()
    server: Server | None = request.getfixturevalue("redis_server") if request.param == "redis" else None
    yield bus_of(ShopApi, url=server.url if server is not None else None)


def around(bus: BusPath, name: str, *managers: Callable[..., Any]) -> None:
    bus.client.parts.hooks.set_plugins({name: [contextmanager(manager) for manager in managers]})


# What a function returns is awaited where it can be


async def test_a_function_that_hides_an_async_one_is_awaited(bus: BusPath) -> None:
    @wrapped
    async def note(*args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        seen.append(type(args[0]).__name__ if args else "tick")

    @wrapped
    async def hook(**kwargs: Any) -> None:
        await asyncio.sleep(0)
        seen.append("hook")

    bus.shop.sold.listen(note, listener_name="one")
    bus.shop.sold.listen(note, listener_name="many", bus_options={"batch": 5})
    bus.client.every(seconds=3600, also_run_immediately=True, scope="process")(note)
    bus.client.before_rpc_execution(hook)
    async with hosted(bus):
        assert await bus.shop.hidden.call_async() == 1
        await bus.shop.sold.fire_async(sku="cup")
        await eventually_async(lambda: len(seen) == 4)
    assert sorted(seen) == ["EventMessage", "hook", "list", "tick"]


# Each message has a context of its own

FRESH = ["nobody", "none", "0.3333333333333333333333333333"]


@pytest.mark.parametrize("procedure", ["context", "context_in_a_thread"])
async def test_what_a_call_sets_in_its_context_no_other_one_sees(bus: BusPath, procedure: str) -> None:
    # As in a module that has made a Decimal: what is inherited is changed in place.
    decimal.setcontext(decimal.Context(prec=28))
    async with hosted(bus):
        call = getattr(bus.shop, procedure)
        assert [await call.call_async() for _ in range(3)] == [FRESH] * 3


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("threaded", [False, True])
async def test_what_a_listener_sets_in_its_context_no_other_event_sees(
    bus: BusPath, many: bool, threaded: bool
) -> None:
    async def here(event: EventMessage | list[EventMessage], **kwargs: Any) -> None:
        seen.append(read())
        if isinstance(event, list) and len(event) > 1:
            raise ValueError("each alone")

    def in_a_thread(event: EventMessage | list[EventMessage], **kwargs: Any) -> None:
        seen.append(read())
        if isinstance(event, list) and len(event) > 1:
            raise ValueError("each alone")

    options = {"batch": 3, "batch_wait": 60} if many else {}
    bus.shop.sold.listen(in_a_thread if threaded else here, on_error=QUICK, bus_options=options)
    async with hosted(bus):
        await bus.shop.sold.fire_many_async([{"sku": sku} for sku in "abc"])
        await eventually_async(lambda: len(seen) == (4 if many else 3))
    assert seen == [FRESH] * len(seen)


async def test_what_a_plugin_sets_around_a_message_its_handler_sees(bus: BusPath) -> None:
    def trace(**kwargs: Any) -> Iterator[None]:
        token = span.set("mine")
        yield
        assert span.get() == "mine"
        span.reset(token)

    around(bus, "around_rpc_execution", trace)
    async with hosted(bus):
        for _ in range(2):
            assert (await bus.shop.context.call_async())[:2] == ["nobody", "mine"]


# What fails before a message is acknowledged, or answered, fails it


def failing(outcomes: list[str]) -> Callable[..., Iterator[None]]:
    """A transaction whose first end fails."""

    def transaction(*, client: Any, **message: Any) -> Iterator[None]:
        yield
        if not outcomes:
            outcomes.append("failed")
            raise ConnectionError("COMMIT failed")
        outcomes.append("committed")

    return transaction


def outer(told: list[str]) -> Callable[..., Iterator[None]]:
    def manager(*, client: Any, **message: Any) -> Iterator[None]:
        try:
            yield
        except ConnectionError as e:
            told.append(str(e))
            raise

    return manager


@pytest.mark.parametrize("many", [False, True])
async def test_an_event_whose_transaction_fails_at_its_end_is_tried_again(bus: BusPath, many: bool) -> None:
    outcomes: list[str] = []
    told: list[str] = []
    done: list[str] = []

    async def note(event: EventMessage | list[EventMessage], **kwargs: Any) -> None:
        seen.append([each.kwargs["sku"] for each in (event if isinstance(event, list) else [event])])

    async def after(client: Any, event_message: EventMessage) -> None:
        done.append(event_message.kwargs["sku"])

    bus.shop.sold.listen(note, on_error=QUICK, bus_options={"batch": 2, "batch_wait": 60} if many else {})
    bus.client.after_event_execution(after)
    around(bus, "around_event_execution", outer(told), failing(outcomes))
    async with hosted(bus):
        await bus.shop.sold.fire_many_async([{"sku": sku} for sku in ("cup", "pot")])
        await eventually_async(lambda: len(done) == 2)
    assert seen == ([["cup", "pot"], ["cup"]] if many else [["cup"], ["pot"], ["cup"]])
    assert outcomes == ["failed", "committed", "committed"]
    assert told == ["COMMIT failed"], "who is around it is told that the message has failed"
    assert done == ["pot", "cup"]


async def test_a_caller_gets_the_error_of_a_transaction_that_fails_at_its_end(bus: BusPath) -> None:
    around(bus, "around_rpc_execution", failing([]))
    async with hosted(bus):
        with pytest.raises(LightbusWorkerError, match="COMMIT failed"):
            await bus.shop.hidden.call_async()
        assert await bus.shop.hidden.call_async() == 1


# Only the host ends the tasks that run handlers


@pytest.mark.parametrize("how", ENDS)
async def test_a_procedure_that_ends_its_task_fails_and_its_api_goes_on(bus: BusPath, how: str) -> None:
    async with hosted(bus) as worker:
        for _ in range(3):
            with pytest.raises(LightbusWorkerError):
                await bus.shop.end.call_async(how=how)
        assert await bus.shop.hidden.call_async() == 1
        await eventually_async(lambda: worker.rpcs[0].running == 0)
    assert list(bus.client.parts.obstacles) == []


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("how", ENDS)
async def test_a_listener_that_ends_its_task_is_tried_again_and_goes_on(
    bus: BusPath, how: str, many: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def note(event: EventMessage | list[EventMessage], **kwargs: Any) -> None:
        skus = [each.kwargs["sku"] for each in (event if isinstance(event, list) else [event])]
        seen.extend(skus)
        if "bad" in skus and seen.count("bad") < (3 if many else 2):
            await ENDS[how]()

    bus.shop.sold.listen(note, on_error=QUICK, bus_options={"batch": 2, "batch_wait": 1} if many else {})
    async with hosted(bus) as worker:
        await bus.shop.sold.fire_many_async([{"sku": sku} for sku in ("bad", "cup")])
        await eventually_async(lambda: seen.count("bad") == (3 if many else 2))
        await bus.shop.sold.fire_async(sku="pot")
        await eventually_async(lambda: "pot" in seen)
        await eventually_async(lambda: worker.events[0].running == 0)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert ["the listener note raised on shop.sold" in error for error in errors] == [True]


async def test_a_cancellation_that_comes_late_costs_only_an_idle_worker(
    bus: BusPath, caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def note(event: EventMessage, sku: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)

    bus.shop.sold.listen(note, on_error=QUICK)
    async with hosted(bus) as worker:
        for sku in ("cup", "pot"):
            await bus.shop.sold.fire_async(sku=sku)
            await eventually_async(lambda: tasks and worker.events[0].running == 0)
            task = tasks.pop()
            task.cancel()
            await asyncio.wait([task])
    assert caplog.text.count("a worker of the listener note ended unasked: something cancelled it") == 2


@pytest.mark.parametrize("how", ENDS)
async def test_a_schedule_and_a_background_task_that_end_their_tasks_have_failed(
    bus: BusPath, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def tick() -> None:
        seen.append("tick")
        await ENDS[how]()

    bus.client.every(seconds=0.02, scope="process", name="tick")(tick)
    bus.client.add_background_task(ENDS[how]())
    async with hosted(bus):
        await eventually_async(lambda: len(seen) > 2)
    assert "the schedule tick failed; it runs again at its next time" in caplog.text
    assert caplog.text.count("the background task") == 1
    assert "ended unasked" not in caplog.text


def test_synchronous_calls_go_on_where_code_on_their_loop_has_raised_system_exit() -> None:
    bus = bus_of(ShopApi)
    errors = iter([SystemExit(3), KeyboardInterrupt()])

    async def hook(**kwargs: Any) -> None:
        error = next(errors, None)
        if error is not None:
            raise error

    bus.client.before_rpc_call(hook)
    for error in (SystemExit, KeyboardInterrupt, NoWorker):
        with pytest.raises(error):
            bus.shop.hidden()
    bus.client.close()
