"""What is done to groups: all of it or nothing, and only where no process reads them."""

from __future__ import annotations

import re

import pytest

from lightbus.exceptions import GroupRefused
from lightbus.transports.events import EventTransport, GroupStatus
from tests.support.eventually import eventually_async
from tests.support.servers import Server
from tests.transports.conftest import take

from .conftest import Ports
from .test_dead_letters import letters

STREAM = "auth.*:stream"


async def status_of(transport: EventTransport, group: str) -> GroupStatus | None:
    """How far a group is, where there is one."""
    found = [status for status in await transport.group_status() if status.group == group]
    return found[0] if found else None


async def with_every_fate(ports: Ports, transport: EventTransport, name: str) -> None:
    """Leave a group that has one event unread, one waiting for a retry, and one dead letter."""
    consumer = await ports.listen(transport, name=name)
    await ports.fire(transport, "dead", "again", "unread")
    dead, again = await take(consumer, 2)
    await dead.dead_letter("failed", ValueError("no"))
    await again.retry(3600, ValueError("no"))
    await consumer.stop()
    await consumer.close()


async def test_a_group_that_is_removed_leaves_nothing_and_others_keep_all(ports: Ports) -> None:
    transport = ports.events()
    other = await ports.listen(transport, name="other")
    await with_every_fate(ports, transport, "old")
    status = await status_of(transport, "shop-old")
    assert status is not None
    await transport.remove_group(status)
    assert await status_of(transport, "shop-old") is None
    assert await letters(transport) == []
    assert len(await take(other, 3)) == 3
    if ports.server is not None:
        assert [key for key in ports.server.execute("KEYS", "*") if b"shop-old" in key] == []
        assert ports.server.execute("EXISTS", f"{{{STREAM}}}:group:shop-old") == 0


async def test_a_group_for_which_much_waits_is_removed_without_keeping_redis(
    any_ports: Ports, any_redis: Server
) -> None:
    """Redis frees what is large beside its work, if it is unlinked."""
    transport = any_ports.events()
    await with_every_fate(any_ports, transport, "old")
    bodies = f"{{{STREAM}}}:bodies:shop-old"
    any_redis.execute("HSET", bodies, *(word for n in range(10_000) for word in (f"1-{n}", "body")))
    status = await status_of(transport, "shop-old")
    assert status is not None

    def freed_beside() -> int:
        return sum(map(int, re.findall(rb"lazyfreed_objects:(\d+)", any_redis.execute("INFO"))))

    before = freed_beside()
    await transport.remove_group(status)
    await eventually_async(lambda: freed_beside() > before)


async def test_a_group_that_a_process_reads_is_not_removed(ports: Ports) -> None:
    transport = ports.events()
    consumer = await ports.listen(transport)
    await ports.fire(transport, "a")
    status = await status_of(transport, "shop-on_user")
    assert status is not None
    with pytest.raises(GroupRefused, match=r"^p1 reads .*stop it first"):
        await transport.remove_group(status)
    (delivery,) = await take(consumer)
    assert delivery.message.kwargs == {"username": "a"}


async def test_a_group_made_by_hand_is_removed(any_ports: Ports, any_redis: Server) -> None:
    any_redis.execute("XGROUP", "CREATE", STREAM, "shop-old", "0", "MKSTREAM")
    transport = any_ports.events()
    (status,) = await transport.group_status([("auth", "*")])
    await transport.remove_group(status)
    assert any_redis.execute("XINFO", "GROUPS", STREAM) == []
