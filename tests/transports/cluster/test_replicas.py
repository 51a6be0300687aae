"""Events that replicas have when firing returns, in a cluster: each primary waits for its own."""

from __future__ import annotations

import asyncio
from collections import Counter

from lightbus.messages import EventMessage
from lightbus.options import Duration, SecretUrl
from lightbus.transports.events import Outgoing
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.options import RedisEventOptions
from tests.conftest import StartCluster
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually_async

APIS = [f"api{number}" for number in range(12)]


def stream_of(api: str) -> str:
    return f"{api}.*:stream"


def stored(cluster: RedisCluster) -> set[str]:
    """The ids of all events."""
    found = set()
    for api in APIS:
        for _, fields in cluster.execute(stream_of(api), "XRANGE", stream_of(api), "-", "+"):
            found.add(dict(zip(fields[::2], fields[1::2], strict=True))[b"id"].decode())
    return found


async def test_what_was_confirmed_is_there_after_a_primary_is_killed_whose_replica_lags(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster()
    options = RedisEventOptions(
        url=SecretUrl(cluster.url),
        max_stream_length=None,
        replicas_before_confirmed=1,
        replicas_timeout=Duration(0.2),
    )
    transport = RedisEventTransport(options)
    outcomes: dict[str, tuple[str, str]] = {}
    is_over = asyncio.Event()

    async def fire_on(api: str) -> None:
        while not is_over.is_set():
            each = [EventMessage(api, "happened", {"n": n}) for n in range(3)]
            events = [Outgoing(message, transport.encode(message)) for message in each]
            await transport.publish_each(events, 10)
            for event in events:
                said = "confirmed" if event.error is None else type(event.error).__name__
                outcomes[event.message.id] = api, said

    def counted(*apis: str) -> Counter[str]:
        return Counter(said for api, said in outcomes.values() if api in apis)

    firing = [asyncio.ensure_future(fire_on(api)) for api in APIS]
    try:
        await eventually_async(lambda: all(counted(api)["confirmed"] for api in APIS))
        old = cluster.owner(stream_of(APIS[0]))
        mine = [api for api in APIS if cluster.owner(stream_of(api)) is old]
        others = [api for api in APIS if api not in mine]
        (replica,) = cluster.replicas(old)
        with cluster.lagging(replica):
            before = counted(*others)["confirmed"]
            await eventually_async(lambda: counted(*mine)["PublishNotConfirmed"])
            await eventually_async(lambda: counted(*others)["confirmed"] > before)
            cluster.kill(old)
        await asyncio.to_thread(cluster.wait_for_promotion, old)
        await asyncio.to_thread(cluster.revive, old)
        done = counted(*mine)["confirmed"]
        await eventually_async(lambda: counted(*mine)["confirmed"] > done)
    finally:
        is_over.set()
        await asyncio.wait(firing)
        await transport.close()
    for each in firing:
        each.result()
    kept = stored(cluster)
    assert [each for each, (_, said) in outcomes.items() if said == "confirmed" and each not in kept] == []
