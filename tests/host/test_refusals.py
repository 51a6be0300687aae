"""A host lives through everything that Redis may say: real servers, brought into each such state."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lightbus.exceptions import (
    LightbusException,
    LightbusTimeout,
    PublishNotConfirmed,
    QueueFull,
    TransportUnavailable,
)
from lightbus.messages import EventMessage, RpcMessage
from lightbus.options import SecretUrl
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.options import RedisEventOptions, RedisRpcOptions
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from tests.conftest import StartServer
from tests.support.eventually import eventually, eventually_async
from tests.support.proxy import Proxy
from tests.support.servers import Kind, Server
from tests.support.timers import HOUR, an_hour_passes

from .conftest import Bench, Hosted
from .shop import ledger

MANIFEST = """
bus: {redis: {command_timeout: 2s}}
listeners:
  note: {events: [shop.sold], handler: "tests.host.shop:note", concurrency: 4}
  hold: {events: [shop.sold], handler: "tests.host.shop:stay", concurrency: 4}
"""
STREAM, QUEUE = "shop.*:stream", "shop:rpc_queue"
OTHERS = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

Between = Callable[[Server], contextlib.AbstractContextManager[None]]


def told(*enter: tuple[str | int, ...], leave: tuple[tuple[str | int, ...], ...]) -> Between:
    """A state into which commands bring a server, and others out of it."""

    @contextlib.contextmanager
    def between(server: Server) -> Iterator[None]:
        for command in enter:
            server.execute(*command)
        try:
            yield
        finally:
            for command in leave:
                server.execute(*command)

    return between


@contextlib.contextmanager
def cannot_save(server: Server) -> Iterator[None]:
    in_the_way = server.folder / "dump.rdb"
    in_the_way.mkdir()
    server.execute("CONFIG", "SET", "save", "3600 1000000")
    save(server, "err")
    try:
        yield
    finally:
        in_the_way.rmdir()
        save(server, "ok")


def save(server: Server, status: str) -> None:
    server.execute("BGSAVE")
    wanted = f"rdb_last_bgsave_status:{status}".encode()
    eventually(lambda: wanted in server.execute("INFO", "persistence"))


@contextlib.contextmanager
def busy(server: Server) -> Iterator[None]:
    server.execute("CONFIG", "SET", "lua-time-limit", 5)
    with in_thread(server, "EVAL", "while true do end", 0):
        eventually(lambda: said(server, "PING").startswith("BUSY"))
        try:
            yield
        finally:
            server.execute("SCRIPT", "KILL")


@contextlib.contextmanager
def loading(server: Server) -> Iterator[None]:
    server.execute("DEBUG", "POPULATE", 200, "filler", 2000)
    server.execute("CONFIG", "SET", "rdbcompression", "no")
    server.execute("CONFIG", "SET", "key-load-delay", 20_000)
    with in_thread(server, "DEBUG", "RELOAD"):
        eventually(lambda: said(server, "GET", "x").startswith("LOADING"))
        yield


@contextlib.contextmanager
def full_of_clients(server: Server) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", server.port)) as admin:
        for command in ("CONFIG SET maxclients 1", "CLIENT KILL TYPE normal SKIPME yes"):
            admin.sendall(f"{command}\r\n".encode())
            assert admin.recv(100)[:1] in b"+:"
        try:
            yield
        finally:
            admin.sendall(b"CONFIG SET maxclients 100\r\n")
            admin.recv(100)


@contextlib.contextmanager
def asking_for_a_password(server: Server) -> Iterator[None]:
    server.execute("CONFIG", "SET", "requirepass", "new")
    server.password = "new"
    server.execute(*OTHERS)
    try:
        yield
    finally:
        server.execute("CONFIG", "SET", "requirepass", "")
        server.password = None


@contextlib.contextmanager
def in_thread(server: Server, *command: str | int) -> Iterator[None]:
    """Run a command that takes as long as the state."""

    def run() -> None:
        with contextlib.suppress(Exception):
            server.execute(*command, timeout=30)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def said(server: Server, *command: str) -> str:
    try:
        return str(server.execute(*command))
    except Exception as e:
        return str(e)


@dataclass(frozen=True)
class State:
    """A state of Redis.

    Args:
        between: Brings the server into it and out of it.
        fires: What the error of firing says meanwhile; empty where firing works.
        calls: What the error of calling says, where it is something else.
        kinds: The servers that can be brought into it.
        args: How they are started.
    """

    between: Between
    fires: str = ""
    calls: str = ""
    kinds: tuple[Kind, ...] = ("valkey", "redis62")
    args: tuple[str, ...] = ()


REPLICA = ("REPLICAOF", "127.0.0.1", 1)
ALONE = ("REPLICAOF", "NO", "ONE")

STATES = {
    "OOM": State(
        told(("CONFIG", "SET", "maxmemory", 1), leave=(("CONFIG", "SET", "maxmemory", 0),)),
        "memory is full; raise its maxmemory",
    ),
    "MISCONF": State(cannot_save, "can't save its data and takes no writes"),
    "NOREPLICAS": State(
        told(
            ("CONFIG", "SET", "min-replicas-to-write", 1),
            leave=(("CONFIG", "SET", "min-replicas-to-write", 0),),
        ),
        "fewer replicas than its min-replicas-to-write",
    ),
    "READONLY": State(told(REPLICA, leave=(ALONE,)), "is a replica, which takes no writes"),
    "MASTERDOWN": State(
        told(
            ("CONFIG", "SET", "replica-serve-stale-data", "no"),
            REPLICA,
            leave=(ALONE, ("CONFIG", "SET", "replica-serve-stale-data", "yes")),
        ),
        "is a replica that has lost its primary|is a replica, which takes no writes",
    ),
    "BUSY": State(busy, "end it with SCRIPT KILL"),
    "LOADING": State(
        loading,
        "still reads its data from disk",
        args=("--loading-process-events-interval-bytes", "1024", "--enable-debug-command", "yes"),
        kinds=("valkey", "redis7"),
    ),
    "NOAUTH": State(asking_for_a_password, "asks for a password"),
    "NOPERM": State(
        told(
            ("ACL", "SETUSER", "default", "-@write", "-@scripting", "-@blocking"),
            leave=(("ACL", "SETUSER", "default", "+@all"),),
        ),
        "user may not do that; allow it by ACL SETUSER",
    ),
    "WRONGTYPE": State(
        told(
            ("RENAME", STREAM, "{shop.*:stream}:aside"),
            ("SET", STREAM, "hello"),
            ("SET", QUEUE, "hello"),
            leave=(("DEL", QUEUE), ("RENAME", "{shop.*:stream}:aside", STREAM)),
        ),
        "holds something that is not Lightbus's",
    ),
    # Who writes first finds the connection closed, and no word in it.
    "MAXCLIENTS": State(full_of_clients, r"has as many connections as it takes|lost|reset|closed"),
    "CLUSTERDOWN": State(
        told(("CLUSTER", "DELSLOTSRANGE", 0, 16383), leave=(("CLUSTER", "ADDSLOTSRANGE", 0, 16383),)),
        "a part of the cluster is down",
        args=("--cluster-enabled", "yes", "--cluster-node-timeout", "500"),
        kinds=("redis7",),
    ),
    "NOSCRIPT": State(told(("SCRIPT", "FLUSH"), leave=())),
    "NOGROUP": State(told(("XGROUP", "DESTROY", STREAM, "shop-note"), leave=())),
}


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, state in STATES.items() for kind in state.kinds]
)
async def test_a_host_lives_through_it_and_loses_nothing(
    tmp_path: Path, start_server: StartServer, bench: Bench, name: str, kind: Kind
) -> None:
    state = STATES[name]
    server = bench.server = start_server(kind, args=state.args)
    bench.url = server.url
    if "--cluster-enabled" in state.args:
        server.execute("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually_async(lambda: b"cluster_state:ok" in server.execute("CLUSTER", "INFO"))
    async with bench.host(MANIFEST) as shop:
        await shop.fire("before")
        running = asyncio.ensure_future(shop.bus.shop.stay.call_async(bus_options={"timeout": 30}))
        await eventually_async(lambda: ledger.counts["before"] == 2 and ledger.counts["stay"] == 1)
        with state.between(server):
            if state.fires:
                await refuses(shop, state)
            # What runs ends while Redis takes neither acknowledgement nor answer.
            ledger.gate.set()
            if state.fires:
                await asyncio.sleep(0.3)
        assert await running == 1
        await eventually_async(lambda: calls(shop))
        await shop.fire("after")
        await eventually_async(lambda: ledger.counts["after"] == 2 and ledger.counts["before"] == 2)
        await eventually_async(lambda: is_settled(server))


async def refuses(shop: Hosted, state: State) -> None:
    """Neither firing nor calling succeeds, and both say why."""
    fire = lambda patience: shop.bus.shop.sold.fire_async(  # noqa: E731
        sku="during", bus_options={"timeout": patience}
    )
    await is_told(state.fires, fire, TransportUnavailable, PublishNotConfirmed)
    call = lambda patience: shop.bus.shop.price.call_async(  # noqa: E731
        sku="abc", bus_options={"timeout": patience}
    )
    # A last try may begin so late that its own outcome is not known any more.
    errors = TransportUnavailable, QueueFull, LightbusTimeout
    await is_told(state.calls or state.fires, call, *errors)


async def is_told(
    why: str, act: Callable[[float], Coroutine[Any, Any, Any]], *errors: type[LightbusException]
) -> None:
    """See that something fails, and that it is said why; who is held up has heard nothing so soon."""
    with pytest.raises(errors) as told:
        await act(1.2)
    if re.search(why, str(told.value)) is None:
        with pytest.raises(errors, match=why):
            await act(20)


async def test_what_redis_said_is_told_where_the_last_try_has_no_answer(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    with Proxy(server.port) as proxy:
        events = RedisEventTransport(RedisEventOptions(url=SecretUrl(proxy.url)))
        rpc = RedisRpcTransport(RedisRpcOptions(url=SecretUrl(proxy.url)))
        await events.open()
        await rpc.open()
        sold = EventMessage("shop", "sold", {"sku": "x"})
        with busy(server):
            fired, called = noted(monkeypatch, events, "post"), noted(monkeypatch, rpc, "send_for")
            firing = asyncio.ensure_future(events.publish([sold], HOUR))
            calling = asyncio.ensure_future(rpc.call(RpcMessage("shop", "price"), HOUR))
            await eventually_async(lambda: tries(fired) > 1 < len(called))

            async def try_in_vain() -> bool:
                """Let nothing through until both try again; not if one still waits for the answer before."""
                before = tries(fired), len(called)
                proxy.set("blackhole")
                try:
                    again = lambda: tries(fired) > before[0] and len(called) > before[1]  # noqa: E731
                    await eventually_async(again, timeout=3)
                except AssertionError:
                    proxy.set("pass")
                    raise
                return True

            await eventually_async(try_in_vain)
            an_hour_passes()
            with pytest.raises(PublishNotConfirmed, match="may or may not be stored") as not_fired:
                await firing
            with pytest.raises(LightbusTimeout, match="did not take the call") as not_called:
                await calling
        assert "end it with SCRIPT KILL" in str(not_fired.value)
        assert "end it with SCRIPT KILL" in str(not_called.value)
        assert not_called.value.executed == "unknown"
        proxy.set("pass")
        await events.close()
        await rpc.close()


def tries(fired: list[tuple[Any, ...]]) -> int:
    return sum("XADD" in each for each in fired)


def noted(monkeypatch: pytest.MonkeyPatch, transport: RedisTransport, name: str) -> list[tuple[Any, ...]]:
    """What a transport sends from now on by a method of its pipe."""
    sent: list[tuple[Any, ...]] = []
    send = getattr(transport.pipe, name)

    def note(*args: Any) -> Any:
        sent.append(args)
        return send(*args)

    monkeypatch.setattr(transport.pipe, name, note)
    return sent


async def calls(shop: Hosted) -> bool:
    try:
        return bool(await shop.bus.shop.price.call_async(sku="abc") == 3)
    except LightbusException:
        return False


def is_settled(server: Server) -> bool:
    pending: list[Any] = [
        server.execute("XPENDING", stream, group)[0]
        for group in ("shop-note", "shop-hold")
        for stream in (STREAM, f"{{{STREAM}}}:retry:{group}")
    ]
    return pending == [0, 0, 0, 0]
