"""The ports over each broker, opened for one test and closed after it. Tests may be coroutines."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

import pytest

from lightbus.declared.settings import Identity
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.options import SecretUrl
from lightbus.transports.events import Delivery, EventConsumer, EventTransport, Subscription
from lightbus.transports.memory.broker import broker
from lightbus.transports.memory.events import MemoryEventTransport
from lightbus.transports.memory.rpc import MemoryRpcTransport
from lightbus.transports.memory.schema import MemorySchemaTransport
from lightbus.transports.port import Transport
from lightbus.transports.redis.events import consumer as event_consumer
from lightbus.transports.redis.events import settling
from lightbus.transports.redis.events.consumer import RedisEventConsumer
from lightbus.transports.redis.events.reading import reader as event_reader
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.keys import presence_key
from lightbus.transports.redis.options import RedisEventOptions, RedisRpcOptions, RedisSchemaOptions
from lightbus.transports.redis.rpc import consumer as rpc_consumer
from lightbus.transports.redis.rpc.consumer import RedisRpcConsumer
from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from lightbus.transports.redis.schema import RedisSchemaTransport
from lightbus.transports.rpc import RpcConsumer, RpcTransport
from lightbus.transports.schema import SchemaTransport
from tests.conftest import require
from tests.support.cluster import PATIENT, RedisCluster
from tests.support.eventually import eventually_async
from tests.support.guard import guarded
from tests.support.proxy import Proxy
from tests.support.servers import KINDS, Kind, Server, ServerPool
from tests.support.spread import Spread
from tests.support.timers import HOUR, outlast_leases

from .limited import IS_LIMITED, as_limited, limit, refused, why_not_limited

#: The servers of a cluster of three primaries, each with a replica, over which the keys are then spread.
SPREAD = cast(Kind | Literal[""], os.environ.get("LIGHTBUS_TEST_SPREAD", ""))
#: How the transports of a cluster wait; of itself, no test has many slots.
WAITING: Any = os.environ.get("LIGHTBUS_TEST_WAITING", "auto")
#: The servers over which transports are tested.
ANY_REDIS = (*KINDS, "cluster")

#: Options of events: whoever is held up for a moment keeps its leases, and what is over is soon found.
LEASES = {"acknowledgement_timeout": HOUR, "reclaim_interval": 0.05}

USER_REGISTERED = (("auth", "user_registered"),)
T = TypeVar("T", bound=Transport)
Answer = Callable[[RpcMessage], Any]


@pytest.fixture
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads wait for so long that nothing which waits for one of them to return by itself passes."""
    monkeypatch.setattr(event_reader, "BLOCK", 300)
    monkeypatch.setattr(rpc_consumer, "BLOCK", 300)


@pytest.fixture
def long_farewells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left or handed back waits until Redis has heard of it, which takes longer on a busy machine."""
    monkeypatch.setattr(event_consumer, "_AT_THE_END", 60.0)
    monkeypatch.setattr(settling, "_HAND_BACK", 60.0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what can't be done as a limited user."""
    for item in items:
        why = why_not_limited(item.nodeid)
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function, and close what it has opened on the same loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        try:
            await pyfuncitem.obj(**arguments)
        finally:
            for value in pyfuncitem.funcargs.values():
                if isinstance(value, Ports):
                    await value.close()

    asyncio.run(run())
    return True


@dataclasses.dataclass
class Dead:
    """A dead letter, whichever broker keeps it."""

    id: str
    reason: str
    error: str
    attempts: int


class Ports:
    """Makes transports of one broker and what they give, and closes all of it at the end."""

    def __init__(self, server: Server | None) -> None:
        self.server = server
        self.url = server.url if server is not None else ""
        #: Whether its transports connect as a user who may do what they need, and nothing else.
        self.is_limited = IS_LIMITED and server is not None and server.kind != "redis62"
        if self.is_limited and server is not None:
            limit(server)
        self._transports: list[Transport] = []
        self._consumers: list[EventConsumer | RpcConsumer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._processes = 0

    def rpc(self, **options: Any) -> RpcTransport:
        """A transport of calls."""
        if self.server is None:
            return self._keep(MemoryRpcTransport())
        return self._keep(RedisRpcTransport(RedisRpcOptions(**self._options(options))))

    def events(self, **options: Any) -> EventTransport:
        """A transport of events."""
        if self.server is None:
            return self._keep(MemoryEventTransport())
        return self._keep(RedisEventTransport(RedisEventOptions(**self._options(options))))

    async def events_by(self, proxy: Proxy) -> EventTransport:
        """A transport of events that is open, over a link that may break."""
        self.url = proxy.url
        transport = self.events()
        await transport.open()
        return transport

    def schema(self, **options: Any) -> SchemaTransport:
        """A transport of contracts."""
        if self.server is None:
            return self._keep(MemorySchemaTransport())
        return self._keep(RedisSchemaTransport(RedisSchemaOptions(**self._options(options))))

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        url = as_limited(self.url) if self.is_limited else self.url
        return {"url": SecretUrl(url), "waiting": WAITING, **options}

    async def serve(self, transport: RpcTransport, api: str = "auth") -> RpcConsumer:
        """A consumer of calls, in a process of its own by name."""
        consumer = await transport.serve(api, self.identity())
        self._consumers.append(consumer)
        return consumer

    async def answer(
        self, transport: RpcTransport, answer: Answer = lambda call: call.kwargs, api: str = "auth"
    ) -> RpcConsumer:
        """A consumer that answers each call with what a function makes of it."""
        consumer = await self.serve(transport, api)

        async def work() -> None:
            while True:
                for call in await consumer.take(100):
                    consumer.answer(call, ResultMessage(answer(call), call.id))

        self.run(work())
        return consumer

    async def until_blocked(self) -> None:
        """Wait until somebody's read blocks, or a bell is heard; in memory, for a turn of the loop."""
        server = self.server
        if server is None:
            await asyncio.sleep(0.05)
            return

        def blocked() -> list[Any]:
            if is_cluster(server) and WAITING == "bell":
                heard: list[bytes] = server.execute("PUBSUB", "SHARDCHANNELS")
                return heard
            return re.findall(r"blocked_clients:[1-9]", server.execute("INFO", "clients").decode())

        await eventually_async(blocked)

    async def listen(
        self,
        transport: EventTransport,
        events: Sequence[tuple[str, str]] = USER_REGISTERED,
        *,
        name: str = "on_user",
        service: str = "shop",
        since: str = "new",
        dedupe: float | None = None,
        known: Mapping[str, tuple[str, ...]] | None = None,
    ) -> EventConsumer:
        """A consumer of events, in a process of its own by name."""
        subscription = Subscription(name, tuple(events), known or {}, since, dedupe)
        consumer = await transport.consume(subscription, self.identity(service))
        self._consumers.append(consumer)
        return consumer

    async def fire(self, transport: EventTransport, *names: str, event: str = "user_registered") -> list[str]:
        """Fire one event per name; returns their ids."""
        messages = [EventMessage("auth", event, {"username": name}) for name in names]
        await transport.publish(messages, 30)
        return [message.id for message in messages]

    async def dead(self, name: str = "on_user") -> list[Dead]:
        """The dead letters of a listener."""
        if self.server is None:
            group = broker().groups[f"shop-{name}"]
            return [Dead(d.message.id, d.reason, repr(d.error), d.attempts) for d in group.dead]
        entries = self.server.execute("XRANGE", f"{{auth.*:stream}}:dead:shop-{name}", "-", "+")
        return [
            Dead(f.get("id", ""), f["reason"], f["error"], int(f["attempts"]))
            for f in (fields_of(entry[1]) for entry in entries)
        ]

    def identity(self, service: str = "shop") -> Identity:
        """Another process of a service."""
        self._processes += 1
        return Identity(service, f"p{self._processes}")

    def run(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine beside the test; it is cancelled at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    async def close(self) -> None:
        """Close everything; what failed in a task that the test did not await fails the test."""
        unseen = [task for task in self._tasks if not task.done() or getattr(task, "_log_traceback", False)]
        for task in unseen:
            task.cancel()
        outcomes = await asyncio.gather(*unseen, return_exceptions=True)
        for consumer in self._consumers:
            await consumer.stop()
            await consumer.close()
        for transport in self._transports:
            await transport.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        if self.is_limited and self.server is not None:
            assert refused(self.server) == []

    async def abandon(self, consumer: EventConsumer | RpcConsumer) -> None:
        """What happens when a process dies: its consumer does nothing more, and says so to nobody.

        That was long ago: where leases are of an hour, those that it had are over. They are short where
        :class:`Ports` know no server.
        """
        self._consumers.remove(consumer)
        if isinstance(consumer, RedisEventConsumer):
            await consumer.end_tasks()
            for link in consumer.links:
                await link.close()
            its = consumer.membership
            for source in its.sources if self.server is not None else ():
                outlast_leases(self.server, source, its.group, its.consumer)
        elif isinstance(consumer, RedisRpcConsumer):
            assert self.server is not None
            await consumer._heartbeat.remove(consumer)
            self.server.execute("DEL", presence_key(consumer._api_name, consumer.presence.member))
            await consumer._link.close()
            if consumer._rung is not None:
                consumer._rung.close()

    def _keep(self, transport: T) -> T:
        self._transports.append(transport)
        return transport


def expiry_key(server: Server, call_id: str, api: str = "auth") -> str:
    """The key whose removal is the right to run a call; ``*`` as its id stands for any."""
    return f"{{{api}:rpc_queue}}:expiry:{call_id}" if is_cluster(server) else f"rpc_expiry_key:{call_id}"


def is_cluster(server: Any) -> bool:
    """Whether a server is a cluster."""
    return isinstance(server, Spread)


def fields_of(entry: Sequence[bytes]) -> dict[str, str]:
    """The fields of a stream entry."""
    texts = [each.decode() for each in entry]
    return dict(zip(texts[::2], texts[1::2], strict=True))


async def take(consumer: EventConsumer, wanted: int = 1, limit: int = 10) -> list[Delivery]:
    """Take events until there are so many."""
    taken: list[Delivery] = []
    async with asyncio.timeout(60):
        while len(taken) < wanted:
            taken += await consumer.take(min(limit, wanted - len(taken)))
    return taken


async def take_call(consumer: RpcConsumer) -> RpcMessage:
    """Take one call."""
    async with asyncio.timeout(60):
        while True:
            for call in await consumer.take(1):
                return call


async def queued(transport: RpcTransport, calls: int, api: str = "auth") -> None:
    """Wait until so many calls wait for a worker, and whoever made them over this transport knows it."""

    async def are_queued() -> bool:
        # This goes the way of the calls, so that the replies to these have come when its own has.
        (status,) = await transport.queue_status([api])
        return status.waiting == calls

    await settled(are_queued)


async def settled(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait until a condition holds."""
    await eventually_async(condition)


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[RedisCluster]:
    """A cluster of one node, or of six nodes where :data:`SPREAD` is set, for the whole session."""
    kind: Kind = SPREAD or "valkey"
    require(kind)
    primaries, replicas = (3, 1) if SPREAD else (1, 0)
    with RedisCluster(kind, primaries=primaries, replicas=replicas, node_timeout=PATIENT) as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spread]:
    """A cluster, empty; what is sent to it may not span slots."""
    whole_cluster.clean()
    with guarded(monkeypatch):
        yield Spread(whole_cluster)


@pytest.fixture
def cluster_ports(cluster: Spread) -> Ports:
    """The ports over a cluster, empty."""
    return Ports(cast(Server, cluster))


@pytest.fixture(params=ANY_REDIS)
def any_redis(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn, and a cluster, empty."""
    return _server(request)


@pytest.fixture(params=("memory", *ANY_REDIS))
def ports(request: pytest.FixtureRequest) -> Ports:
    """The ports in memory, over each kind of server in turn, and over a cluster."""
    return Ports(None if request.param == "memory" else _server(request))


@pytest.fixture
def redis_server(servers: ServerPool) -> Iterator[Server]:
    """The embedded Valkey, empty; where transports are tested as a limited user, it has that."""
    server = servers.clean("valkey")
    if IS_LIMITED:
        limit(server)
    yield server
    if IS_LIMITED and server.process is not None:
        assert refused(server) == []


@pytest.fixture
def redis_ports(redis_server: Server) -> Ports:
    """The ports over the embedded Valkey, empty."""
    return Ports(redis_server)


@pytest.fixture
def any_ports(any_redis: Server) -> Ports:
    """The ports over each kind of server in turn, empty."""
    return Ports(any_redis)


def _server(request: pytest.FixtureRequest) -> Server:
    kind: Kind | Literal["cluster"] = request.param
    if kind == "cluster":
        return cast(Server, request.getfixturevalue("cluster"))
    require(kind)
    pool: ServerPool = request.getfixturevalue("servers")
    return pool.clean(kind)
