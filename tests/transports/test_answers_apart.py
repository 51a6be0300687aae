"""Answers that travel over another Redis than their calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightbus.exceptions import LightbusTimeout
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.options import SecretUrl
from lightbus.transports.redis.options import RedisOptions
from tests.conftest import StartServer
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import Ports, settled, take_call
from .test_redis_rpc import REPLY_LIST, keys, nothing_taken, push


@pytest.fixture
def answers(start_server: StartServer) -> Server:
    """The Redis of answers."""
    return start_server()


@pytest.fixture
def between(answers: Server) -> Iterator[Proxy]:
    """A proxy in front of it."""
    with Proxy(answers.port) as made:
        yield made


def at(url: str) -> RedisOptions:
    return RedisOptions(url=SecretUrl(url))


async def test_an_answer_lies_on_its_own_redis_and_its_call_is_struck_off(
    redis_ports: Ports, redis_server: Server, answers: Server
) -> None:
    consumer = await redis_ports.serve(redis_ports.rpc(results=at(answers.url), result_ttl=40))
    push(redis_server, f"redis+key://{REPLY_LIST}")
    call = await take_call(consumer)
    consumer.answer(call, ResultMessage("done", call.id))
    await nothing_taken(redis_server)
    assert keys(answers) == [REPLY_LIST] and 0 < answers.execute("TTL", REPLY_LIST) <= 40
    assert REPLY_LIST not in keys(redis_server)


async def test_a_caller_reads_its_answers_there(redis_ports: Ports, answers: Server) -> None:
    await redis_ports.answer(redis_ports.rpc(results=at(answers.url)))
    caller = redis_ports.rpc(results=at(answers.url))
    assert (await caller.call(RpcMessage("auth", "check", {"a": 1}), 30)).result == {"a": 1}


async def test_a_call_is_not_struck_off_before_its_answer_is_there(
    redis_ports: Ports, redis_server: Server, answers: Server, between: Proxy
) -> None:
    transport = redis_ports.rpc(results=at(between.url), rpc_retry_delay=0.5)
    consumer = await redis_ports.serve(transport)
    calling = redis_ports.run(redis_ports.rpc(results=at(answers.url)).call(RpcMessage("auth", "check"), 60))
    call = await take_call(consumer)
    between.set("refuse")
    consumer.answer(call, ResultMessage("done", call.id))
    # What comes after it over the other connection is done, and the call still stands.
    await redis_ports.answer(transport, lambda call: "unsent", api="other")
    (taken,) = keys(redis_server, "*:taken:*")
    assert redis_server.execute("LLEN", taken) == 1
    between.set("pass")
    assert (await calling).result == "done"
    await nothing_taken(redis_server)


async def test_an_answer_arrives_although_the_redis_of_calls_is_away(
    redis_ports: Ports, redis_server: Server, proxy: Proxy, answers: Server
) -> None:
    caller = redis_ports.rpc(results=at(answers.url))
    redis_ports.url = proxy.url
    consumer = await redis_ports.serve(redis_ports.rpc(results=at(answers.url), rpc_retry_delay=0.5))
    calling = redis_ports.run(caller.call(RpcMessage("auth", "check"), 60))
    call = await take_call(consumer)
    proxy.set("refuse")
    consumer.answer(call, ResultMessage("done", call.id))
    assert (await calling).result == "done"
    assert len(keys(redis_server, "*:taken:*")) == 1
    proxy.set("pass")
    await nothing_taken(redis_server)


async def test_an_answer_whose_key_is_no_list_leaves_no_call_behind(
    redis_ports: Ports, redis_server: Server, answers: Server, caplog: pytest.LogCaptureFixture
) -> None:
    answers.execute("SET", REPLY_LIST, "text")
    consumer = await redis_ports.serve(redis_ports.rpc(results=at(answers.url)))
    push(redis_server, f"redis+key://{REPLY_LIST}")
    call = await take_call(consumer)
    consumer.answer(call, ResultMessage("done", call.id))
    await nothing_taken(redis_server)
    assert "its key is not a list" in caplog.text


async def test_closing_waits_for_answers_that_are_not_there_yet(
    redis_ports: Ports, redis_server: Server, answers: Server, between: Proxy
) -> None:
    consumer = await redis_ports.serve(redis_ports.rpc(results=at(between.url), rpc_retry_delay=0.5))
    push(redis_server, f"redis+key://{REPLY_LIST}")
    call = await take_call(consumer)
    between.set("refuse")
    consumer.answer(call, ResultMessage("done", call.id))
    await consumer.stop()
    closing = redis_ports.run(consumer.close())
    between.set("pass")
    await closing
    assert answers.execute("LLEN", REPLY_LIST) == 1
    assert [key for key in keys(redis_server) if "rpc_queue" in key] == []


async def test_an_answer_that_waits_when_the_bus_is_closed_is_given_up(
    redis_ports: Ports, redis_server: Server, between: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    transport = redis_ports.rpc(results=at(between.url), rpc_retry_delay=0.1)
    consumer = await redis_ports.serve(transport)
    push(redis_server, f"redis+key://{REPLY_LIST}")
    call = await take_call(consumer)
    between.set("refuse")
    consumer.answer(call, ResultMessage("done", call.id))
    await redis_ports.abandon(consumer)
    await transport.close()

    async def given_up() -> bool:
        return "gave up sending an answer of auth" in caplog.text

    await settled(given_up)
    assert len(keys(redis_server, "*:taken:*")) == 1
    assert "Exception in callback" not in caplog.text


async def test_a_caller_that_can_not_read_answers_says_why(
    redis_ports: Ports, answers: Server, between: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    await redis_ports.answer(redis_ports.rpc(results=at(answers.url)))
    between.set("refuse")
    caller = redis_ports.rpc(results=at(between.url))
    calling = redis_ports.run(caller.call(RpcMessage("auth", "check"), HOUR))

    async def told() -> bool:
        return "reading answers: Redis at" in caplog.text

    await settled(told)
    an_hour_passes()
    with pytest.raises(LightbusTimeout):
        await calling


async def test_an_answer_that_is_given_up_before_it_is_sent_again_does_not_hold_up_the_end(
    redis_ports: Ports,
    redis_server: Server,
    between: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    waits: list[int] = []

    def backoff(failures: int, longest: float) -> float:
        waits.append(failures)
        return 0.3

    monkeypatch.setattr("lightbus.transports.redis.rpc.answering.backoff", backoff)
    transport = redis_ports.rpc(results=at(between.url))
    consumer = await redis_ports.serve(transport)
    push(redis_server, f"redis+key://{REPLY_LIST}")
    call = await take_call(consumer)
    between.set("refuse")
    consumer.answer(call, ResultMessage("done", call.id))

    async def waits_to_be_sent_again() -> bool:
        return bool(waits)

    await settled(waits_to_be_sent_again)
    assert transport.answers is not None
    await transport.answers.close()
    await consumer.close()
    assert "gave up sending an answer of auth: the bus was closed" in caplog.text
    assert "could not sign off" not in caplog.text
