"""Calls, whatever carries them."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.exceptions import InvalidMessage, LightbusTimeout, NoWorker, WorkerLost
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.redis.rpc import transport as redis_rpc
from tests.support.timers import HOUR, an_hour_passes

from .conftest import Ports, queued, settled, take_call


async def test_a_call_is_answered(ports: Ports) -> None:
    transport = ports.rpc()
    await ports.answer(transport, lambda call: {"asked": call.kwargs})
    result = await transport.call(RpcMessage("auth", "check", {"username": "admin"}), 30)
    assert (result.result, result.error) == ({"asked": {"username": "admin"}}, False)


async def test_a_worker_sees_what_was_called(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    message = RpcMessage("auth", "check", {"a": [1, None, {"b": 2.5}]})
    calling = ports.run(transport.call(message, 30))
    call = await take_call(consumer)
    assert (call.id, call.canonical_name, call.kwargs) == (message.id, "auth.check", message.kwargs)
    assert call.kwargs["a"] is not message.kwargs["a"]
    consumer.answer(call, ResultMessage(1, call.id))
    await calling


async def test_an_error_and_its_trace_reach_the_caller(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    calling = ports.run(transport.call(RpcMessage("auth", "boom"), 30))
    call = await take_call(consumer)
    consumer.answer(call, ResultMessage("ValueError('no')", call.id, error=True, trace="Traceback ..."))
    result = await calling
    assert (result.result, result.error, result.trace) == ("ValueError('no')", True, "Traceback ...")


async def test_many_calls_in_flight_each_get_their_own_answer(ports: Ports) -> None:
    transport = ports.rpc()
    await ports.answer(transport, lambda call: call.kwargs["number"] * 2)
    results = await asyncio.gather(
        *(transport.call(RpcMessage("auth", "double", {"number": n}), 60) for n in range(500))
    )
    assert [result.result for result in results] == [n * 2 for n in range(500)]


async def test_calls_are_shared_among_the_workers_of_an_api(ports: Ports) -> None:
    transport = ports.rpc()
    seen: dict[str, int] = {"a": 0, "b": 0}

    def count(who: str) -> int:
        seen[who] += 1
        return seen[who]

    await ports.answer(transport, lambda call: count("a"))
    await ports.answer(transport, lambda call: count("b"))
    called = 0

    async def both_have_some() -> bool:
        nonlocal called
        called += len(await asyncio.gather(*(transport.call(RpcMessage("auth", "x"), 30) for _ in range(4))))
        # Whoever looks first may take all that there are.
        return seen["a"] > 0 and seen["b"] > 0

    await settled(both_have_some)
    assert seen["a"] + seen["b"] == called


async def test_no_more_calls_are_taken_than_there_are_slots(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    calls = [ports.run(transport.call(RpcMessage("auth", "x"), 30)) for _ in range(10)]
    await queued(transport, 10)
    first = list(await consumer.take(3))
    assert 1 <= len(first) <= 3
    rest: list[RpcMessage] = []
    while len(first) + len(rest) < 10:
        taken = await consumer.take(4)
        assert len(taken) <= 4
        rest += taken
    for call in first + rest:
        consumer.answer(call, ResultMessage(None, call.id))
    await asyncio.gather(*calls)


async def test_a_call_that_nobody_starts_was_not_executed(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_rpc, "WITHDRAWAL", 60.0)
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    unstarted = ports.run(transport.call(RpcMessage("auth", "x"), HOUR))
    await queued(transport, 1)
    an_hour_passes()
    with pytest.raises(LightbusTimeout) as raised:
        await unstarted
    assert raised.value.executed == "no"
    calling = ports.run(transport.call(RpcMessage("auth", "next"), 30))
    call = await take_call(consumer)
    assert call.procedure_name == "next"
    consumer.answer(call, ResultMessage(None, call.id))
    await calling


async def test_a_call_that_was_started_may_have_been_executed(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    calling = ports.run(transport.call(RpcMessage("auth", "slow"), HOUR))
    call = await take_call(consumer)
    an_hour_passes()
    with pytest.raises(LightbusTimeout) as raised:
        await calling
    assert raised.value.executed == "unknown"
    consumer.answer(call, ResultMessage("too late", call.id))


async def test_a_late_answer_disturbs_nobody(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    late = ports.run(transport.call(RpcMessage("auth", "slow"), HOUR))
    call = await take_call(consumer)
    an_hour_passes()
    with pytest.raises(LightbusTimeout):
        await late
    consumer.answer(call, ResultMessage("too late", call.id))
    calling = ports.run(transport.call(RpcMessage("auth", "next"), 30))
    following = await take_call(consumer)
    consumer.answer(following, ResultMessage("in time", following.id))
    assert (await calling).result == "in time"


async def test_a_call_whose_caller_is_cancelled_is_withdrawn(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    calling = ports.run(transport.call(RpcMessage("auth", "cancelled"), 30))
    await asyncio.sleep(0)  # So that it has begun; whether it was sent makes no difference.
    calling.cancel()
    await asyncio.wait([calling])
    following = ports.run(transport.call(RpcMessage("auth", "next"), 30))
    call = await take_call(consumer)
    assert call.procedure_name == "next"
    consumer.answer(call, ResultMessage(None, call.id))
    await following


async def test_nobody_serving_an_api_is_said_at_once(ports: Ports) -> None:
    transport = ports.rpc()
    await transport.open()
    async with asyncio.timeout(60):
        with pytest.raises(NoWorker, match=r"'auth'.*auth.check"):
            await transport.call(RpcMessage("auth", "check"), HOUR)


async def test_a_result_that_is_too_large_becomes_an_error(ports: Ports) -> None:
    transport = ports.rpc()
    await ports.answer(transport, lambda call: "x" * 1_100_000)
    result = await transport.call(RpcMessage("auth", "dump"), 30)
    assert result.error
    assert "InvalidMessage" in result.result
    assert "auth.dump" in result.result or "result" in result.result


async def test_a_result_that_is_not_json_becomes_an_error(ports: Ports) -> None:
    transport = ports.rpc()
    await ports.answer(transport, lambda call: object())
    result = await transport.call(RpcMessage("auth", "dump"), 30)
    assert result.error
    assert "InvalidMessage" in result.result


@pytest.mark.parametrize("value", ["x" * 1_100_000, object(), "\ud800"], ids=["large", "object", "surrogate"])
async def test_a_call_that_no_worker_would_accept_is_not_sent(ports: Ports, value: object) -> None:
    transport = ports.rpc()
    await ports.answer(transport)
    with pytest.raises(InvalidMessage, match=r"auth.check"):
        await transport.call(RpcMessage("auth", "check", {"value": value}), 60)
    assert (await transport.call(RpcMessage("auth", "check", {"a": 1}), 30)).result == {"a": 1}


@pytest.mark.usefixtures("long_waits")
async def test_a_waiting_take_ends_when_its_consumer_stops(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    taking = ports.run(consumer.take(1))
    await ports.until_blocked()
    async with asyncio.timeout(60):
        await consumer.stop()
        assert list(await taking) == []
    assert list(await consumer.take(1)) == []


@pytest.mark.usefixtures("long_waits")
@pytest.mark.parametrize("turns", [1, 10, 100])
async def test_a_take_that_has_not_begun_to_wait_ends_as_well(ports: Ports, turns: int) -> None:
    consumer = await ports.serve(ports.rpc())
    taking = ports.run(consumer.take(1))
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await consumer.stop()
        assert list(await taking) == []


async def test_a_call_left_behind_at_the_end_is_lost_and_its_caller_told(ports: Ports) -> None:
    transport = ports.rpc()
    consumer = await ports.serve(transport)
    calling = ports.run(transport.call(RpcMessage("auth", "slow"), 60))
    await take_call(consumer)
    await consumer.stop()
    await consumer.close()
    result = await calling
    assert result.error
    assert result.result.startswith(WorkerLost.__name__)
    assert result.trace == "", "its form, which no error of a procedure has"


async def test_apis_do_not_get_each_others_calls(ports: Ports) -> None:
    transport = ports.rpc()
    await ports.answer(transport, lambda call: "auth", "auth")
    await ports.answer(transport, lambda call: "support", "support.case")
    results = [await transport.call(RpcMessage(api, "x"), 30) for api in ("auth", "support.case")]
    assert [result.result for result in results] == ["auth", "support"]
