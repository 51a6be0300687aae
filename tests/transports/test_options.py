"""Options of the Redis transports that no other test turns: each changes something."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightbus.declared.settings import ApiSettings
from lightbus.exceptions import ConfigurationError, LightbusTimeout, TransportUnavailable
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.options import SecretUrl
from lightbus.runtime import retrying
from lightbus.transports.redis.link.connection import BLOCK, Connector, LinkBroken
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.options import HostPort, RedisOptions, SentinelOptions, TlsOptions
from lightbus.transports.redis.rpc import answering
from lightbus.transports.redis.rpc import transport as rpc
from tests.conftest import StartServer
from tests.support.eventually import eventually, eventually_async
from tests.support.proxy import Proxy
from tests.support.servers import Server, find_binary, free_port
from tests.support.timers import HOUR

from .conftest import Ports, settled, take_call


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The longest wait that each failure was followed by."""
    asked: list[float] = []

    def backoff(failures: int, most: float = 5.0) -> float:
        asked.append(most)
        return 0.01

    for module in (retrying, rpc, answering):
        monkeypatch.setattr(module, "backoff", backoff)
    return asked


async def contains(waits: list[float], most: float) -> None:
    async def condition() -> bool:
        return most in waits

    await settled(condition)


async def test_how_long_reading_events_waits_after_an_error(
    redis_ports: Ports, proxy: Proxy, waits: list[float]
) -> None:
    redis_ports.url = proxy.url
    consumer = await redis_ports.listen(redis_ports.events(consumption_restart_delay=1.25))
    proxy.set("refuse")
    await consumer.take(1)
    assert set(waits) == {1.25}
    proxy.set("pass")


async def test_how_long_taking_calls_waits_after_an_error(
    redis_ports: Ports, proxy: Proxy, waits: list[float]
) -> None:
    redis_ports.url = proxy.url
    consumer = await redis_ports.serve(redis_ports.rpc(consumption_restart_delay=1.25))
    proxy.set("refuse")
    await consumer.take(1)
    assert 1.25 in waits
    proxy.set("pass")


async def test_how_long_sending_an_answer_waits_after_an_error(
    redis_ports: Ports, proxy: Proxy, waits: list[float]
) -> None:
    caller = redis_ports.rpc()
    redis_ports.url = proxy.url
    consumer = await redis_ports.serve(redis_ports.rpc(rpc_retry_delay=1.75))
    calling = redis_ports.run(caller.call(RpcMessage("auth", "check"), 60))
    call = await take_call(consumer)
    proxy.set("drop_replies")
    consumer.answer(call, ResultMessage(1, call.id))

    async def reply_is_lost() -> bool:
        return proxy.has_lost_replies

    await settled(reply_is_lost)
    proxy.set("pass")
    await calling
    await contains(waits, 1.75)


async def test_how_long_an_unanswered_call_is_kept(redis_ports: Ports, redis_server: Server) -> None:
    for options, expected in (({"rpc_timeout": 2 * HOUR}, 2 * HOUR + 1), ({}, HOUR + 1)):
        transport = redis_ports.rpc(**options)
        await redis_ports.serve(transport)
        message = RpcMessage("auth", "check")
        calling = redis_ports.run(transport.call(message, HOUR))

        async def sent(call_id: str = message.id) -> bool:
            return bool(redis_server.execute("EXISTS", f"rpc_expiry_key:{call_id}"))

        await settled(sent)
        left = redis_server.execute("TTL", f"rpc_expiry_key:{message.id}")
        assert expected - HOUR / 2 < left <= expected
        calling.cancel()


def test_a_dead_link_is_found_while_there_is_still_time_to_fire_over_another() -> None:
    assert RedisOptions().command_timeout <= BLOCK + 2 < ApiSettings().event_fire_timeout


async def test_how_long_a_command_may_take(redis_ports: Ports, proxy: Proxy) -> None:
    redis_ports.url = proxy.url
    transport = redis_ports.rpc(command_timeout=0.2)
    assert isinstance(transport, rpc.RedisRpcTransport)
    await transport.open()

    async def answers() -> bool:
        with contextlib.suppress(LinkBroken):  # A busy machine may not answer within so short a time.
            return bool(await transport.pipe.send("PING") == b"PONG")
        return False

    await settled(answers)
    proxy.set("blackhole")
    # The call's own time is not up when the connection counts as dead.
    with pytest.raises(LightbusTimeout, match="may or may not have run"):
        await transport.call(RpcMessage("auth", "check"), 30)
    proxy.set("pass")


async def test_a_socket_file_is_an_address_too(start_server: StartServer, tmp_path: Path) -> None:
    start_server(args=("--unixsocket", str(tmp_path / "redis.sock")))
    pipe = Pipe(Connector(RedisOptions(url=SecretUrl(f"unix://{tmp_path}/redis.sock"))), 60)
    assert await pipe.send("PING") == b"PONG"
    await pipe.close()


@pytest.fixture
def sentinel(redis_server: Server, tmp_path: Path) -> Iterator[int]:
    """The port of a Sentinel that watches the embedded Valkey as "main"."""
    binary, port = find_binary("valkey"), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {redis_server.port} 1\n")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(binary), str(config), "--sentinel"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        eventually(lambda: "monitor master main" in (tmp_path / "log").read_text())
        yield port
    finally:
        process.kill()
        process.wait()


async def test_sentinel_says_where_the_primary_is(redis_server: Server, sentinel: int) -> None:
    nodes = (HostPort(f"127.0.0.1:{free_port()}"), HostPort(f"127.0.0.1:{sentinel}"))
    options = RedisOptions(sentinel=SentinelOptions(service="main", nodes=nodes))
    pipe = Pipe(Connector(options), 60)
    await pipe.send("SET", "a", 1)
    assert redis_server.execute("GET", "a") == b"1"
    redis_server.restart()
    await eventually_async(lambda: pipe.reconnects)
    assert await pipe.send("PING") == b"PONG"
    await pipe.close()


async def test_a_primary_that_sentinel_does_not_know_is_said(sentinel: int) -> None:
    nodes = (HostPort(f"127.0.0.1:{sentinel}"),)
    pipe = Pipe(Connector(RedisOptions(sentinel=SentinelOptions(service="other", nodes=nodes))), 5)
    with pytest.raises(TransportUnavailable, match=r"sentinel other \(127\.0\.0\.1:\d+\)/0 can't be reached"):
        await pipe.open()
    await pipe.close()


@pytest.mark.parametrize("more", ["?timeout=1", "?decode_responses=true", "?ssl_cert_reqs=none"])
def test_what_a_url_may_not_say_is_refused_before_anything_is_opened(more: str) -> None:
    with pytest.raises(ConfigurationError, match="the URL of Redis must be"):
        Connector(RedisOptions(url=SecretUrl(f"redis://127.0.0.1/0{more}")))


async def test_a_file_of_tls_that_is_not_there_is_named(redis_server: Server, tmp_path: Path) -> None:
    tls = TlsOptions(ca_file=f"{tmp_path}/ca.pem")
    pipe = Pipe(Connector(RedisOptions(url=SecretUrl(redis_server.url), tls=tls)), 5)
    with pytest.raises(TransportUnavailable, match=r"can't be used: .*/ca\.pem, its tls\.ca_file, does not"):
        await pipe.open()
    await pipe.close()


async def test_a_database_that_is_not_there_is_not_said_to_be_away(redis_server: Server) -> None:
    pipe = Pipe(Connector(RedisOptions(url=SecretUrl(redis_server.url.rpartition("/")[0] + "/99"))), 5)
    with pytest.raises(TransportUnavailable, match=r"/99 can't be used: it has no database of that number"):
        await pipe.open()
    await pipe.close()


def loading_server(loading: list[bool]) -> Any:
    """Speaks as a Redis does that still loads its data, while the list says so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(10_000):
            reply = b"-LOADING Redis is loading the dataset in memory\r\n" if loading[0] else b"+PONG\r\n"
            writer.write(reply * data.count(b"*"))
        writer.close()

    return serve


async def test_a_redis_that_still_loads_its_data_is_waited_for() -> None:
    loading = [True]
    server = await asyncio.start_server(loading_server(loading), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        pipe = Pipe(Connector(RedisOptions(url=SecretUrl(f"redis://127.0.0.1:{port}/0"))), 5)
        with pytest.raises(TransportUnavailable, match="it still reads its data from disk"):
            await pipe.open()

        async def open_again() -> bool:
            try:
                await pipe.open()
            except TransportUnavailable:
                return False
            return True

        loading[0] = False
        await settled(open_again)
        await pipe.close()


async def test_the_names_of_streams_are_the_same_for_all_events_of_an_api_or_not(
    redis_ports: Ports, redis_server: Server
) -> None:
    for use, stream in (("per_api", "auth.*:stream"), ("per_event", "auth.user_registered:stream")):
        await redis_ports.events(stream_use=use).publish([EventMessage("auth", "user_registered")], 30)
        assert redis_server.execute("XLEN", stream) == 1
