"""The one connection that all commands share, and what becomes of commands when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hiredis
import pytest
import uvloop

from lightbus.exceptions import BusAlreadyClosed, ConfigurationError, TransportUnavailable
from lightbus.options import Duration, Secret, SecretUrl
from lightbus.transports.redis.link.connection import Connector, Link, LinkBroken, Wire
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.link.reaching import reasons
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import HostPort, RedisOptions, SentinelOptions, TlsOptions
from lightbus.transports.redis.scripts import OWN
from tests.conftest import StartServer
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.servers import Server, free_port

from .conftest import settled

Work = Callable[[Pipe], Awaitable[None]]
#: Seconds for what is answered; far fewer are needed.
PATIENCE = Duration(60)


async def piped(url: str, work: Work, *, command_timeout: float = PATIENCE, **options: Any) -> None:
    """Use a pipe and close it."""
    given: dict[str, Any] = {"connect_timeout": PATIENCE, **options}
    pipe = Pipe(Connector(RedisOptions(url=SecretUrl(url), **given)), command_timeout)
    try:
        await work(pipe)
    finally:
        await pipe.close()


async def reconnected(pipe: Pipe, times: int = 1) -> None:
    async def condition() -> bool:
        return pipe.reconnects >= times

    await settled(condition)


def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written to connections from now on, each write by itself."""
    writes: list[bytes] = []
    write = Wire.write

    def noted(self: Wire, packed: bytes) -> None:
        writes.append(packed)
        write(self, packed)

    monkeypatch.setattr(Wire, "write", noted)
    return writes


async def test_commands_of_one_tick_go_out_in_few_writes(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        writes = written(monkeypatch)
        replies = await asyncio.gather(*(pipe.send("ECHO", str(n)) for n in range(100)))
        assert replies == [str(n).encode() for n in range(100)]
        assert [packed.count(b"ECHO") for packed in writes] == [32, 32, 32, 4]
        await pipe.send_many([("SET", "a", 1), ("GET", "a")])
        assert len(writes) == 5

    await piped(redis_url, work)


async def test_commands_that_go_one_at_a_time_are_written_at_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        await pipe.send("PING")
        writes = written(monkeypatch)
        alone = pipe.send("ECHO", "a")
        assert len(writes) == 1, "nothing was awaited"
        together = [pipe.send("ECHO", "b"), pipe.send("ECHO", "c")]
        assert len(writes) == 1, "a reply is due, so these may wait for each other"
        assert await asyncio.gather(alone, *together) == [b"a", b"b", b"c"]
        assert len(writes) == 2
        next_one = pipe.send("ECHO", "d")
        assert len(writes) == 2, "after several at a time, others may come with it"
        assert await next_one == b"d"

    await piped(redis_url, work)


async def test_what_is_no_future_is_told_of_replies_as_they_come(redis_url: str) -> None:
    told: list[Any] = []

    class Told(asyncio.Future[Any]):
        def set_result(self, result: Any, /) -> None:
            told.append(result)
            super().set_result(result)

    async def work(pipe: Pipe) -> None:
        await pipe.open()
        outcome, taken_back = Told(), Told()
        pipe.send_for(outcome, "queue", ("ECHO", "a"), ("NONSENSE",))
        assert pipe.is_unsent(outcome)
        await pipe.send("ECHO", "b")
        assert not pipe.is_unsent(outcome)
        (echo, refusal) = told[0]
        assert echo == b"a"
        assert isinstance(refusal, ReplyError)
        pipe.send_for(taken_back, "queue", ("SET", "cancelled", 1))
        taken_back.cancel()
        assert await pipe.send("GET", "cancelled") is None

    await piped(redis_url, work)


async def test_replies_find_their_commands(redis_url: str) -> None:
    async def work(pipe: Pipe) -> None:
        many = pipe.send_many([("SET", "a", 1), ("INCR", "a"), ("HGET", "a", "b"), ("GET", "a")])
        one, refused = pipe.send("ECHO", "x"), pipe.send("NONSENSE", "a payload")
        replies = await many
        assert (replies[:2], replies[3]) == ([b"OK", 2], b"2")
        assert isinstance(replies[2], ReplyError)
        assert replies[2].code == "WRONGTYPE"
        assert await one == b"x"
        with pytest.raises(ReplyError, match=r"unknown command 'NONSENSE'$"):
            await refused

    await piped(redis_url, work)


async def test_a_command_that_is_cancelled_before_it_is_written_is_taken_back(redis_url: str) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        pipe.send("SET", "cancelled", 1).cancel()
        late = pipe.send("SET", "written", 1)
        await asyncio.sleep(0)  # Now it is written.
        late.cancel()
        assert await pipe.send("MGET", "cancelled", "written") == [None, b"1"]

    await piped(redis_url, work)


async def test_a_pipe_connects_again_when_the_server_has_restarted(redis_server: Server) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        redis_server.restart()
        await reconnected(pipe)
        assert await pipe.send("PING") == b"PONG"

    await piped(redis_server.url, work)


async def test_commands_wait_while_redis_is_away(proxy: Proxy) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        proxy.set("refuse")

        async def away() -> bool:
            return pipe.failure is not None

        await settled(away)
        waiting = [pipe.send("INCR", "a") for _ in range(3)]
        assert all(pipe.is_unsent(future) for future in waiting)
        await asyncio.sleep(0.05)
        assert not any(future.done() for future in waiting)
        proxy.set("pass")
        assert await asyncio.gather(*waiting) == [1, 2, 3]

    await piped(proxy.url, work)


async def test_a_redis_that_never_answered_is_said_at_once() -> None:
    async def work(pipe: Pipe) -> None:
        with pytest.raises(TransportUnavailable, match=r"can't be reached.*bus\.redis\.url"):
            await pipe.send("PING")

    await piped(f"redis://127.0.0.1:{free_port()}/0", work)


async def test_what_was_written_and_not_answered_is_in_doubt(proxy: Proxy, redis_server: Server) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        proxy.set("drop_replies")
        future = pipe.send("INCR", "a")

        async def done() -> bool:
            return bool(redis_server.execute("GET", "a") == b"1" and proxy.has_lost_replies)

        await settled(done)
        proxy.set("pass")
        with pytest.raises(LinkBroken):
            await future
        assert await pipe.send("GET", "a") == b"1"

    await piped(proxy.url, work)


async def test_each_command_that_finds_no_connection_has_an_error_of_its_own() -> None:
    """With one for all, the traceback of each would have the lines of all others."""
    pipe = Pipe(Connector(RedisOptions(url=SecretUrl(f"redis://127.0.0.1:{free_port()}/0"))), PATIENCE)
    sent = [pipe.send("PING") for _ in range(2)]
    await asyncio.wait(sent)
    one, other = (each.exception() for each in sent)
    assert isinstance(one, TransportUnavailable) and str(one) == str(other)
    assert one is not other
    await pipe.close()


async def test_a_half_open_connection_is_found_and_replaced(proxy: Proxy) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        proxy.set("blackhole")
        with pytest.raises(LinkBroken):
            await pipe.send("INCR", "a")
        proxy.set("pass")

        async def answers() -> bool:
            with contextlib.suppress(LinkBroken):  # A busy machine may not answer within so short a time.
                return bool(await pipe.send("PING") == b"PONG")
            return False

        await settled(answers)

    await piped(proxy.url, work, command_timeout=0.2)


async def test_a_command_that_takes_its_time_is_waited_for(redis_url: str) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        slow = pipe.send("BLPOP", "nothing", 0.2)
        assert await slow is None
        assert pipe.reconnects == 0

    await piped(redis_url, work)


async def test_a_blocking_link_finds_a_dead_connection_too(proxy: Proxy) -> None:
    link = Link(Connector(RedisOptions(url=SecretUrl(proxy.url))))
    assert await link.exchange([("PING",)], 30) == [b"PONG"]
    proxy.set("blackhole")
    with pytest.raises(LinkBroken, match=r"no reply within 0\.2 s"):
        await link.exchange([("BLPOP", "nothing", 1)], 0.2)
    proxy.set("pass")
    assert await link.exchange([("PING",)], 30) == [b"PONG"]
    await link.close()


async def test_a_blocking_link_that_is_closed_while_it_connects_leaves_no_connection(proxy: Proxy) -> None:
    link = Link(Connector(RedisOptions(url=SecretUrl(proxy.url), connect_timeout=Duration(60))))
    proxy.set("blackhole")
    asking = asyncio.ensure_future(link.exchange([("PING",)], 30))
    await settled(lambda: _is_connected(proxy))
    await link.close()
    proxy.set("pass")
    with pytest.raises(LinkBroken, match="it was closed while it was made"):
        await asking
    await settled(lambda: _is_connected(proxy, 0))
    assert await link.exchange([("PING",)], 30) == [b"PONG"], "the next exchange opens another"
    await link.close()


async def _is_connected(proxy: Proxy, times: int = 1) -> bool:
    return proxy.connections == times


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_was_held_up_reads_what_has_come_meanwhile(
    redis_server: Server, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        redis_server.execute("CONFIG", "RESETSTAT")
        sent = pipe.send("ECHO", "x")
        await asyncio.sleep(0)  # Now it is written.
        time.sleep(0.5)  # noqa: ASYNC251 - what holds up the loop
        # On a busy machine, the answer may take longer.
        eventually(lambda: b"cmdstat_echo:" in redis_server.execute("INFO", "commandstats"))
        assert await sent == b"x"
        await asyncio.sleep(0.05)  # Now a connection that was closed would be seen to be.
        assert pipe.reconnects == 0

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(piped(redis_server.url, work, command_timeout=0.2))


class Hurrying(selectors.EpollSelector):
    """Where nothing has come, waiting for a time is to have that time behind oneself at once."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(timeout if timeout is None else 0)
        if not found and timeout is not None:
            self.passed += timeout
        return found


class HurryingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while something is done: a busy machine makes nobody late."""

    def __init__(self) -> None:
        self._waits = Hurrying()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.passed


def test_a_server_that_is_slow_but_answers_is_not_given_up(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while found := await reader.read(10_000):
            parser.feed(found)
            while command := parser.gets():
                if command[0] == b"ECHO":
                    await asyncio.sleep(0.1)
                writer.write(b"+PONG\r\n")
        writer.close()

    async def work(pipe: Pipe) -> None:
        await pipe.open()
        assert len(await asyncio.gather(*(pipe.send("ECHO", "x") for _ in range(15)))) == 15
        assert pipe.reconnects == 0

    async def scenario() -> float:
        # What is written to a socket of this kind is there at once, so that no time passes meanwhile.
        path = tmp_path / "slow.sock"
        async with await asyncio.start_unix_server(serve, path):
            await piped(f"unix://{path}", work, command_timeout=0.7)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        assert runner.run(scenario()) > 15 * 0.09, "each of them took its time"


async def test_a_server_that_is_silent_while_connecting_is_given_up(proxy: Proxy) -> None:
    proxy.set("blackhole")

    async def work(pipe: Pipe) -> None:
        with pytest.raises(TransportUnavailable, match=r"no answer within 0\.1 s|can't be reached"):
            await pipe.send("PING")

    await piped(proxy.url, work, connect_timeout=0.1)


async def test_scripts_are_loaded_again_when_the_server_forgot_them(any_redis: Server) -> None:
    async def work(pipe: Pipe) -> None:
        for _ in range(2):
            assert await pipe.run(OWN(owners="owners", service="shop", process="p1", lease=1_000)) == b"shop"
            await pipe.send("SCRIPT", "FLUSH")

    await piped(any_redis.url, work)


async def test_a_primary_that_became_a_replica_is_left(
    redis_server: Server, start_server: StartServer
) -> None:
    primary = start_server()

    async def work(pipe: Pipe) -> None:
        await pipe.open()
        redis_server.execute("REPLICAOF", "127.0.0.1", primary.port)
        try:
            with pytest.raises(ReplyError, match="READONLY"):
                await pipe.send("SET", "a", 1)
            await reconnected(pipe)
            link = Link(pipe.connector)
            (reply,) = await link.exchange([("SET", "a", 1)], PATIENCE)
            assert reply.code == "READONLY"
            assert link._wire is None
        finally:
            redis_server.execute("REPLICAOF", "NO", "ONE")

    await piped(redis_server.url, work)


async def test_a_primary_without_replicas_is_left_since_sentinel_may_have_replaced_it(
    redis_server: Server,
) -> None:
    async def work(pipe: Pipe) -> None:
        await pipe.open()
        redis_server.execute("CONFIG", "SET", "min-replicas-to-write", 1)
        try:
            with pytest.raises(ReplyError, match="NOREPLICAS"):
                await pipe.send("SET", "a", 1)
            await reconnected(pipe)
        finally:
            redis_server.execute("CONFIG", "SET", "min-replicas-to-write", 0)

    await piped(redis_server.url, work)


async def test_a_reply_to_nothing_does_not_end_the_pipe() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10_000):
            writer.write(b"+PONG\r\n" * 20)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def work(pipe: Pipe) -> None:
        await pipe.open()
        await reconnected(pipe)
        assert await pipe.send("PING") == b"PONG"

    async with server:
        await piped(f"redis://127.0.0.1:{port}/0", work)


async def test_a_closed_pipe_says_so_to_all_that_wait(redis_url: str) -> None:
    pipe = Pipe(Connector(RedisOptions(url=SecretUrl(redis_url))), PATIENCE)
    await pipe.open()
    written, unwritten = pipe.send("BLPOP", "nothing", 1), None
    await asyncio.sleep(0)
    unwritten = pipe.send("PING")
    await pipe.close()
    for future in (written, unwritten):
        with pytest.raises(BusAlreadyClosed):
            await future
    with pytest.raises(BusAlreadyClosed, match=r"lightbus\.create"):
        pipe.send("PING")


class TestGettingIn:
    async def test_with_a_password(self, start_server: StartServer) -> None:
        server = start_server(password="s3cret-word")
        for options in (
            {"url": SecretUrl(server.url)},
            {"url": SecretUrl(f"redis://127.0.0.1:{server.port}/0"), "password": Secret("s3cret-word")},
            {
                "url": SecretUrl(f"redis://:wrong@127.0.0.1:{server.port}/0"),
                "password": Secret("s3cret-word"),
            },
            {
                "url": SecretUrl(f"redis://127.0.0.1:{server.port}/0"),
                "username": "default",
                "password": Secret("s3cret-word"),
            },
        ):
            pipe = Pipe(Connector(RedisOptions(**options)), PATIENCE)
            await pipe.open()
            await pipe.close()

    @pytest.mark.parametrize("login", ["", ":s3cret-wrong@", "s3cret-user:s3cret-wrong@"])
    async def test_without_or_with_the_wrong_password_is_said_without_the_password(
        self, start_server: StartServer, login: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = start_server(password="s3cret-word")
        said = "refused the password or user" if login else "asks for a password"

        async def work(pipe: Pipe) -> None:
            with pytest.raises(TransportUnavailable, match=said) as raised:
                await pipe.open()
            assert f"127.0.0.1:{server.port}" in str(raised.value)
            assert "s3cret" not in str(raised.value)

        await piped(f"redis://{login}127.0.0.1:{server.port}/0", work)
        assert "s3cret" not in caplog.text

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:s3cret#x@host:6379/0",
            "redis://:s3cret/x@host:6379/0",
            "redis://:s3[cret@host:6379/0",
            "redis://:s3cret@host:port/0",
            "http://:s3cret@host:6379/0",
            "s3cret",
        ],
    )
    def test_a_url_that_can_not_be_read_is_said_without_its_secret(self, url: str) -> None:
        with pytest.raises(ConfigurationError) as raised:
            Connector(RedisOptions(url=SecretUrl(url)))
        assert "s3" not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None

    @pytest.mark.parametrize(
        ("options", "address"),
        [
            ({}, "127.0.0.1:6379/0"),
            ({"url": SecretUrl("redis://user:s3cret@redis.example:7000/3")}, "redis.example:7000/3"),
            ({"url": SecretUrl("unix://:s3cret@/run/redis.sock?db=2")}, "/run/redis.sock/2"),
            (
                {"sentinel": SentinelOptions(service="main", nodes=(HostPort("a:1"), HostPort("b:2")))},
                "sentinel main (a:1, b:2)/0",
            ),
        ],
    )
    def test_the_address_shows_where_and_no_secret(self, options: dict[str, Any], address: str) -> None:
        assert Connector(RedisOptions(**options)).address == address

    async def test_the_database_of_the_url_is_used(self, redis_server: Server) -> None:
        async def work(pipe: Pipe) -> None:
            await pipe.send("SET", "a", 1)

        await piped(redis_server.url[:-1] + "3", work)
        assert redis_server.execute("EXISTS", "a") == 0
        assert b"db3:keys=1" in redis_server.execute("INFO", "keyspace")

    async def test_tls_is_spoken_where_it_is_configured(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A busy machine may take longer to find out what listens there.
        monkeypatch.setattr(reasons, "_ASKING", 60.0)

        async def work(pipe: Pipe) -> None:
            with pytest.raises(TransportUnavailable, match="speaks no TLS there"):
                await pipe.open()

        await piped(redis_url, work, tls=TlsOptions(verify=False), connect_timeout=0.2)
