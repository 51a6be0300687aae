"""What nobody has thought of goes wrong with a connection: nothing waits for ever, and it is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from lightbus.exceptions import ConfigurationError, TransportUnavailable
from lightbus.options import SecretUrl
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.redis.link import connection as connections
from lightbus.transports.redis.link.connection import Connector, Link, LinkBroken, Wire
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.link.reaching.outages import Hearers
from lightbus.transports.redis.options import HostPort, RedisOptions, SentinelOptions, TlsOptions
from tests.support.eventually import eventually_async
from tests.support.proxy import Proxy
from tests.support.servers import Server

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
Factory = Callable[[], asyncio.AbstractEventLoop]
#: Seconds within which what waits is told; far fewer are needed.
PATIENCE = 60


def pipe_to(url: str, told: Obstacles) -> Pipe:
    return Pipe(Connector(RedisOptions(url=SecretUrl(url))), PATIENCE, Hearers([told]))


async def answered(pipe: Pipe) -> None:
    """Wait until commands are answered."""
    while True:
        try:
            await pipe.send("PING")
            return
        except LinkBroken:
            continue


def fault_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]


@pytest.mark.parametrize("factory", LOOPS)
@pytest.mark.parametrize("step", ["write", "feed"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
        AttributeError("'NoneType' object has no attribute 'write'"),
        ConnectionResetError("reset"),
        BrokenPipeError("broken"),
        asyncio.IncompleteReadError(b"", 1),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_breaks_a_connection_comes_out_as_one_error(
    factory: Factory, step: str, error: Exception, redis_url: str
) -> None:
    class Broken:
        """A transport, or parser, that raises."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            if name == step:
                raise error
            return getattr(self._real, name)

    def break_it(wire: Wire | None) -> None:
        assert wire is not None
        if step == "write":
            wire._transport = Broken(wire._transport)  # type: ignore[assignment]
        else:
            wire._parser = Broken(wire._parser)  # type: ignore[assignment]

    async def work() -> None:
        pipe = pipe_to(redis_url, Obstacles())
        await pipe.open()
        break_it(pipe._wire)
        async with asyncio.timeout(PATIENCE):
            sent = [pipe.send("PING") for _ in range(40)]
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
        assert outcomes and all(isinstance(outcome, LinkBroken | bytes) for outcome in outcomes)
        async with asyncio.timeout(PATIENCE):
            await answered(pipe)
        await pipe.close()
        link = Link(pipe.connector)
        await link.exchange([("PING",)], PATIENCE)
        break_it(link._wire)
        with pytest.raises(LinkBroken):
            await link.exchange([("PING",)], PATIENCE)
        assert await link.exchange([("PING",)], PATIENCE) == [b"PONG"]
        await link.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


@pytest.mark.parametrize("factory", LOOPS)
def test_a_link_that_is_reset_just_before_it_is_written_to_raises_nothing(
    factory: Factory, proxy: Proxy
) -> None:
    async def work() -> None:
        pipe = pipe_to(proxy.url, Obstacles())
        await pipe.open()
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        for _ in range(5):
            async with asyncio.timeout(PATIENCE):
                await answered(pipe)
                before = pipe.reconnects
                proxy.cut()
                while pipe.reconnects == before:
                    sent = [pipe.send("PING") for _ in range(100)]
                    outcomes = await asyncio.gather(*sent, return_exceptions=True)
                    assert all(isinstance(outcome, LinkBroken | bytes) for outcome in outcomes)
        assert complaints == []
        await pipe.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


def cannot_be_set(options: RedisOptions, node: str | None = None) -> dict[str, Any]:
    """Stand in for the function that makes the settings of a connection."""
    raise TypeError("planted")


def cannot_be_received(pipe: Pipe, replies: list[Any]) -> None:
    """Stand in for the method that hands out replies."""
    raise KeyError("planted")


@pytest.mark.parametrize(
    ("where", "fault", "raised"),
    [
        ((connections, "settings_of"), cannot_be_set, (TransportUnavailable, "TypeError: planted")),
        ((Pipe, "_receive"), cannot_be_received, (LinkBroken, "KeyError: 'planted'")),
    ],
    ids=["while connecting", "while reading"],
)
async def test_a_fault_fails_what_waits_is_told_once_and_is_an_obstacle_while_it_lasts(
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: tuple[object, str],
    fault: Callable[..., object],
    raised: tuple[type[Exception], str],
) -> None:
    told = Obstacles()
    pipe = pipe_to(redis_url, told)
    with monkeypatch.context() as patch:
        patch.setattr(*where, fault)
        for _ in range(3):
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(raised[0], match=raised[1]):
                    await pipe.send("PING")
        assert ["planted" in sentence for sentence in told] == [True]
        assert len(fault_lines(caplog)) == 1
    assert await pipe.send("PING") == b"PONG"
    assert list(told) == []
    await pipe.close()


async def test_a_pipe_whose_task_somebody_cancels_starts_again(redis_url: str) -> None:
    pipe = pipe_to(redis_url, Obstacles())
    await pipe.open()
    written = pipe.send("BLPOP", "nothing", 5)
    await asyncio.sleep(0)
    assert pipe._reader is not None
    pipe._reader.cancel()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LinkBroken, match="its task ended"):
            await written
        assert await pipe.send("PING") == b"PONG"
    pipe._reader.cancel()
    async with asyncio.timeout(PATIENCE):
        assert await pipe.send("PING") == b"PONG"
    await pipe.close()


async def test_that_redis_is_away_is_an_obstacle_until_it_answers(redis_server: Server) -> None:
    told = Obstacles()
    pipe = pipe_to(redis_server.url, told)
    await pipe.open()
    redis_server.kill()
    await eventually_async(lambda: any("can't be reached" in sentence for sentence in told))
    redis_server.start()
    await eventually_async(lambda: not list(told))
    await pipe.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tls": TlsOptions()}, "there is no TLS over a unix:// URL"),
        ({"sentinel": SentinelOptions(service="m", nodes=(HostPort("a:1"),))}, "Sentinel tells where"),
    ],
)
def test_what_a_unix_socket_can_not_have_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Connector(RedisOptions(url=SecretUrl("unix:///run/redis.sock"), **options))
