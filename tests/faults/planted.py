"""Bugs that a bus could have, planted into the processes of a campaign: the oracle must find each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from lightbus.declared.listener import Listener
from lightbus.transports.events import Delivery
from lightbus.transports.redis.events import leases
from lightbus.transports.redis.events.leases import Leases
from lightbus.transports.redis.events.membership import Membership
from lightbus.transports.redis.link import refusals
from lightbus.transports.redis.link.cluster.link import ClusterLink
from lightbus.transports.redis.link.cluster.node import NodePipe, is_elsewhere
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.link.promise import Replicas
from lightbus.transports.redis.rpc import consumer as rpc_consumer
from lightbus.transports.redis.rpc import transport as rpc_transport
from lightbus.transports.redis.scripts import RENEW
from lightbus.worker.dispatch import Dispatch

#: The planted MAXLEN.
SHORT = 20
#: How many bytes the planted leak keeps of each event.
LEAKED = 2_000


def acknowledge_first() -> None:
    """An event is acknowledged before its handler runs."""
    handle: Callable[..., Any] = Dispatch.handle

    async def acknowledged(self: Dispatch, listener: Listener, delivery: Delivery) -> None:
        delivery.ack()
        await asyncio.sleep(0)
        await handle(self, listener, delivery)

    setattr(Dispatch, "handle", acknowledged)  # noqa: B010


def group_at_end() -> None:
    """A group that is gone is made again at the end of its stream."""

    async def make(self: Membership, stream: str, start: str) -> str:
        for source, at in ((stream, "$"), (self.keys[stream].retry, "0")):
            (made,) = await self.pipe.send_many([("XGROUP", "CREATE", source, self.group, at, "MKSTREAM")])
            assert made == b"OK" or "BUSYGROUP" in str(made)
        return "0"

    setattr(Membership, "make", make)  # noqa: B010


def no_renewal() -> None:
    """Leases are not renewed while handlers run."""

    async def nothing(self: Leases) -> None:
        await asyncio.Event().wait()

    setattr(Leases, "renew_regularly", nothing)  # noqa: B010


def stealing_renewal() -> None:
    """Renewing takes back what another process has claimed meanwhile."""
    text = """
    for i = 3, #ARGV do
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    end
    return 0
    """
    setattr(leases, "RENEW", replace(RENEW, text=text, sha="0" * 40))  # noqa: B010


def trimming_by_length() -> None:
    """Firing cuts the stream to a length, whether or not groups have read it."""
    send: Callable[..., Any] = Pipe.post

    def trimmed(self: Pipe, *command: Any) -> Any:
        if command[0] == "XADD":
            command = ("XADD", command[1], "MAXLEN", SHORT, *command[2:])
        return send(self, *command)

    setattr(Pipe, "post", trimmed)  # noqa: B010


def replaced_kept() -> None:
    """The connection to a primary that was replaced stays, and its answers count; readers go on elsewhere."""
    close: Callable[..., Any] = NodePipe.close
    kept = WeakSet[NodePipe]()

    def keep(self: NodePipe) -> None:
        kept.add(self)
        for link in list(self.links):
            link.abort()

    async def close_others(self: NodePipe) -> None:
        if self not in kept:
            await close(self)

    setattr(NodePipe, "abandon", keep)  # noqa: B010
    setattr(NodePipe, "close", close_others)  # noqa: B010


def expiry_elsewhere() -> None:
    """The key by which a call may run lies in another slot than the queue, as on one Redis."""
    for module in (rpc_transport, rpc_consumer):
        setattr(module, "expiry_prefix", lambda *_, **__: "rpc_expiry_key:")  # noqa: B010


def unblocked_is_gone() -> None:
    """A reader whose slot moves, and who is told so in other words, takes its group for lost."""
    refusals.REFUSALS["UNBLOCKED"] = refusals.Refusal(refusals.Reaction.MAKE_GROUP)
    setattr(ClusterLink, "_is_open", staticmethod(lambda reply, **_: is_elsewhere(reply)))  # noqa: B010


def leak() -> None:
    """A host keeps something of each event for ever."""
    handle: Callable[..., Any] = Dispatch.handle
    kept: list[bytearray] = []

    async def keeping(self: Dispatch, listener: Listener, delivery: Delivery) -> None:
        kept.append(bytearray(LEAKED))
        await handle(self, listener, delivery)

    setattr(Dispatch, "handle", keeping)  # noqa: B010


def wait_ignored() -> None:
    """Firing takes any answer of the replicas for a yes."""
    setattr(Replicas, "_failure", lambda *_: None)  # noqa: B010


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        *(acknowledge_first, group_at_end, no_renewal, stealing_renewal, trimming_by_length, wait_ignored),
        *(replaced_kept, expiry_elsewhere, unblocked_is_gone, leak),
    )
}
