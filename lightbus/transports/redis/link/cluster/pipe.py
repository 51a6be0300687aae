"""The channel to a cluster: each command goes to the primary that has its slot."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import hiredis

from lightbus.exceptions import BusAlreadyClosed, TransportUnavailable
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.redis.keys import bell_key
from lightbus.transports.redis.link.channel import Channel, Take, hand_out
from lightbus.transports.redis.link.connection import Connector, Link, ignore_outcome
from lightbus.transports.redis.link.deadlines import Deadlines, Outcome, fail
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.link.reaching.outages import Hearers
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import RedisOptions

from .bells import Bells
from .link import ClusterLink
from .mixed import Joined, Mixed
from .node import ELSEWHERE, NodePipe, Routed
from .nodes import Nodes
from .redirects import PATIENCE, Redirects, one_of
from .slots import ANYWHERE, first_key, slot_of_command, slot_of_key

#: Commands of a list that are sent together: their places in it, and the future of their replies.
_Divided = tuple[Sequence[int], asyncio.Future[list[Any]], Routed | Mixed]


class ClusterPipe(Channel):
    """The shared way of one event loop to one cluster: a pipe to each primary that is used.

    Args:
        options: The address and the credentials.
        told: Shows that commands don't reach a node, while that is so.
        promise: The replicas that must have a write of :meth:`store` before its sender hears of it.
    """

    def __init__(
        self, options: RedisOptions, told: Hearers | None = None, promise: Promise | None = None
    ) -> None:
        self.address = options.address
        self._connector = Connector(options)
        self._loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self._loop)
        self.is_closed = False
        self.on_refusal = lambda refusal: None
        self._nodes = Nodes(options, self, Hearers() if told is None else told, self._after_look, promise)
        self._owners = self._nodes.owners
        self._redirects = Redirects(self._nodes, self._route)
        # Commands whose slot has nobody, or nobody that is known yet.
        self._unplaced: deque[Routed] = deque()
        self._asking: set[asyncio.Future[None]] = set()
        # The slot of a key, and the command that rings for those who wait there.
        self._rings: dict[str, tuple[int, bytes]] = {}
        #: The bells that are heard here.
        self.bells = Bells(self._nodes, self._note_refused_bell)

    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Send one command."""
        future: asyncio.Future[Any] = self._loop.create_future()
        slot = slot_of_command(command)
        self._route(Routed(future, hiredis.pack_command(command), slot))
        return future

    def post(self, *command: Any) -> asyncio.Future[Any]:
        """Send one command that adds to what others wait for at its first key, and ring for them."""
        future: asyncio.Future[Any] = self._loop.create_future()
        key = first_key(command)
        slot, bell = self._rings.get(key) or self._ring_of(key)
        self._route(Routed(future, hiredis.pack_command(command), slot, bell=bell))
        return future

    def ring(self, key: str, group: str = "") -> None:
        """Have those hear of something new that wait at a key."""
        if not self.is_closed:
            self.send("SPUBLISH", bell_key(key), group).add_done_callback(ignore_outcome)

    def store(self, *command: Any) -> asyncio.Future[Any]:
        """Send a write and ring; its reply comes once what was promised of replicas is kept."""
        future: asyncio.Future[Any] = self._loop.create_future()
        key = first_key(command)
        slot, bell = self._rings.get(key) or self._ring_of(key)
        packed = hiredis.pack_command(command)
        self._route(Routed(future, packed, slot, is_promised=True, bell=bell))
        return future

    def send_for(self, outcome: Outcome, key: str, *commands: tuple[Any, ...]) -> None:
        """Send commands that add to what others wait for at a key, in its slot, and tell of their replies."""
        slot, bell = self._rings.get(key) or self._ring_of(key)
        packed = [hiredis.pack_command(command) for command in commands]
        self._route(Routed(outcome, b"".join(packed), slot, packed, bell=bell))

    def send_many(self, commands: Iterable[tuple[Any, ...]]) -> asyncio.Future[list[Any]]:
        """Send commands that follow each other; those of one slot have no other command between them.

        A command without a key goes where the one before it goes, and at the beginning where the next does.
        """
        listed = commands if isinstance(commands, list | tuple) else list(commands)
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if not listed:
            future.set_result([])
            return future
        slots = [slot_of_command(command) for command in listed]
        packed = [hiredis.pack_command(command) for command in listed]
        if slots.count(slots[0]) == len(slots):
            self._route(Routed(future, b"".join(packed), slots[0], packed))
            return future
        parts = self._divided(slots, packed)
        if len(parts) == 1:
            self._send_parts(parts)
            return parts[0][1]
        self._send_joined(future, parts)
        return future

    def send_each(self, commands: Sequence[tuple[Any, ...]], take: Take) -> Sequence[asyncio.Future[Any]]:
        """Send commands that have nothing to do with each other; each node answers what it has."""
        slots = [slot_of_command(command) for command in commands]
        packed = [hiredis.pack_command(command) for command in commands]
        parts = self._divided(slots, packed, are_apart=True)
        for places, sent, _ in parts:
            sent.add_done_callback(partial(hand_out, places, partial(_take, take)))
        self._send_parts(parts)
        return [sent for _, sent, _ in parts]

    def send_to_all(self, *command: Any) -> asyncio.Future[list[Any]]:
        """Send one command to each primary."""
        sent = self._loop.create_task(self._send_to_all(command), name="lightbus redis to all")
        sent.add_done_callback(ignore_outcome)
        return sent

    async def primaries(self) -> Sequence[NodePipe]:
        """Return the pipe to each primary."""
        if self._nodes.topology is None:
            known: asyncio.Future[None] = self._loop.create_future()
            self._asking.add(known)
            self._check_open()
            self._nodes.refresh()
            await known
        return self._nodes.with_slots

    async def close(self) -> None:
        """Close all connections; commands that wait fail."""
        self.is_closed = True
        error = BusAlreadyClosed("the bus was closed while the command waited")
        self._owners[:] = [None] * len(self._owners)
        self._redirects.close(error)
        self._fail_unplaced(error)
        try:
            await self.bells.close()
        finally:
            await self._nodes.close()

    def link(self, key: str | None, on_refusal: Callable[[ReplyError], None]) -> Link:
        """Return a new connection for commands that block."""
        return ClusterLink(self._nodes, self._connector, key, on_refusal)

    def unblock(self, link: Link) -> None:
        """Make a read that blocks on another connection return at once."""
        if isinstance(link, ClusterLink) and link.node is not None:
            link.node.unblock(link)

    def end_remains(self, link: Link) -> None:
        """Let what is left of another connection end before anything that is sent from now on is done."""
        if isinstance(link, ClusterLink):
            link.end_remains()

    @property
    def failure(self) -> TransportUnavailable | None:
        """Why it is not known who has a slot, or the last failure to connect to one who has."""
        failures = (node.failure for node in self._nodes)
        return self._nodes.failure or next(filter(None, failures), None)

    @property
    def reconnects(self) -> int:
        """How often connections were made again."""
        return self._nodes.reconnects

    @property
    def outage_ended_at(self) -> float:
        """When a connection was made last, by the event loop's clock."""
        return max(outages.ended_at for outages in self._nodes.all_outages)

    def outage_since(self, moment: float) -> str:
        """Say for how long a node was away, where that was after a moment of the loop's clock."""
        said = (outages.since(moment, self._loop.time()) for outages in self._nodes.all_outages)
        return next(filter(None, said), "")

    def forget(self, obstacles: Obstacles) -> None:
        """Tell these no more of what is in the way of commands."""
        self._nodes.forget(obstacles)

    def is_unsent(self, future: Outcome) -> bool:
        """Tell whether a command still waits for a connection."""
        others = self._redirects.substitutes.get(future)
        if others is not None:
            return all(map(self.is_unsent, others))
        return any(waiting is future for waiting in self._waiting())

    def unsent(self) -> Collection[Outcome]:
        """Return the futures of all commands that still wait for a connection."""
        found = set(self._waiting())
        for future in self._redirects.substitutes:
            if self.is_unsent(future):
                found.add(future)
        return found

    # What the pipes to the nodes tell.

    def follow(self, node: NodePipe, batch: Routed, reply: Any) -> None:
        """Send again those commands of a batch that were refused for want of a slot."""
        self._redirects.follow(node, batch, reply)

    def follow_each(self, node: NodePipe, batch: Mixed, replies: list[Any]) -> None:
        """Send again those of commands of several slots that were refused for want of theirs."""
        self._redirects.follow_each(node, batch, replies)

    def note_unreachable(self, node: NodePipe, error: TransportUnavailable) -> None:
        """A node can't be connected to; what needs no slot is sent to another one."""
        self._nodes.refresh()
        if self._owners[ANYWHERE] is node:
            self._nodes.choose_any()
            self._move_waiting(node)

    def note_trouble(self, node: NodePipe) -> None:
        """A node is silent, or its connection broke: another one may have taken its place."""
        self._nodes.refresh()

    def note_replaced(self, node: NodePipe) -> None:
        """A node is no primary any more; what was not yet written to it is sent elsewhere."""
        self._move_waiting(node)
        node.abandon()

    def note_refusal(self, refusal: ReplyError) -> None:
        """A node refused something."""
        if refusal.code not in ELSEWHERE:
            self.on_refusal(refusal)

    def _note_refused_bell(self, refusal: ReplyError) -> None:
        self.on_refusal(refusal)

    def _route(self, batch: Routed) -> None:
        node = self._owners[batch.slot]
        if node is not None:
            node.put(batch)
            return
        self._check_open()
        batch.refused_at = batch.refused_at or self._loop.time()
        self._unplaced.append(batch)
        self._nodes.refresh()

    def _ring_of(self, key: str) -> tuple[int, bytes]:
        command: tuple[Any, ...] = ("SPUBLISH", bell_key(key), "")
        ring = self._rings[key] = slot_of_key(key), bytes(hiredis.pack_command(command))
        return ring

    def _check_open(self) -> None:
        if self.is_closed:
            raise BusAlreadyClosed

    def _spread_by_slot(self, batch: Mixed) -> None:
        """Send commands of several slots that one node has no more, those of each in one batch."""
        if batch.are_apart:
            singles = [one_of(batch, place) for place in range(batch.wanted)]
            batch.future.set_result([single.future for single in singles])
            for single in singles:
                self._route(single)
            return
        self._send_joined(batch.future, self._divided(batch.slots, batch.parts, by_node=False))

    def _send_joined(self, future: asyncio.Future[list[Any]], parts: Sequence[_Divided]) -> None:
        count = sum(len(places) for places, _, _ in parts)
        joined = Joined(future, [None] * count, count)
        for places, sent, _ in parts:
            sent.add_done_callback(partial(joined.collect, places))
        self._redirects.stand_in(future, [sent for _, sent, _ in parts])
        self._send_parts(parts)

    def _send_parts(self, parts: Sequence[_Divided]) -> None:
        for _, _, batch in parts:
            if isinstance(batch, Routed):
                self._route(batch)
            elif (node := self._owners[batch.slots[0]]) is not None:
                node.put(batch)
            else:
                self._spread_by_slot(batch)

    def _divided(
        self, slots: Sequence[int], packed: Sequence[bytes], *, by_node: bool = True, are_apart: bool = False
    ) -> Sequence[_Divided]:
        """Divide commands by the nodes that have them; where one is not connected to, by their slots.

        Only then, since another one may take its place for some of them. Those of a slot keep their order.
        """
        here = next((slot for slot in slots if slot != ANYWHERE), ANYWHERE)
        connected = {node for node in self._nodes if node.is_connected} if by_node else set()
        places: dict[NodePipe | int, list[int]] = {}
        own_slots = []
        for place, slot in enumerate(slots):
            here = here if slot == ANYWHERE else slot
            own_slots.append(here)
            node = self._owners[here]
            places.setdefault(node if node is not None and node in connected else here, []).append(place)
        divided: list[_Divided] = []
        for own in places.values():
            parts, of_parts = [packed[place] for place in own], [own_slots[place] for place in own]
            sent: asyncio.Future[list[Any]] = self._loop.create_future()
            if of_parts.count(of_parts[0]) == len(of_parts):
                divided.append((own, sent, Routed(sent, b"".join(parts), of_parts[0], parts)))
            else:
                divided.append((own, sent, Mixed(sent, of_parts, parts, are_apart=are_apart)))
        return divided

    async def _send_to_all(self, command: tuple[Any, ...]) -> list[Any]:
        sent = [node.send_many([command]) for node in await self.primaries()]
        return [reply for (reply,) in await asyncio.gather(*sent)]

    def _waiting(self) -> Iterator[Outcome]:
        yield from (batch.future for batch in self._unplaced)
        yield from self._redirects.resting()
        for node in self._nodes:
            yield from node.unsent()

    def _move_waiting(self, node: NodePipe) -> None:
        for batch in node.take_moved(self._owners):
            if batch.future.done():
                continue
            if isinstance(batch, Routed):
                self._route(batch)
            else:
                self._spread_by_slot(batch)

    def _after_look(self) -> bool:
        """Send what waited for the outcome of a look; tell whether something still waits."""
        if self._nodes.topology is None:
            # As with one Redis that never answered: each sender gets an error.
            if self._nodes.failure is not None:
                self._fail_unplaced(self._nodes.failure)
            return False
        self.bells.follow()
        for known in self._asking:
            if not known.done():
                known.set_result(None)
        self._asking.clear()
        for node in self._nodes:
            self._move_waiting(node)
        oldest = self._loop.time() - PATIENCE
        waiting, self._unplaced = self._unplaced, deque()
        for batch in waiting:
            if batch.refused_at < oldest:
                fail(batch.future, self._nodes.failure or TransportUnavailable(f"{self.address} is silent"))
            elif not batch.future.done():
                self._route(batch)
        return bool(self._unplaced) or self.bells.is_seeking

    def _fail_unplaced(self, error: Exception) -> None:
        for batch in self._unplaced:
            fail(batch.future, error)
        self._unplaced.clear()
        for known in self._asking:
            fail(known, error)
        self._asking.clear()


def _take(take: Take, place: int, reply: Any) -> None:
    """Take the reply to one of many commands, or wait for it where the command is sent again."""
    if isinstance(reply, asyncio.Future):
        reply.add_done_callback(partial(_take_late, take, place))
    else:
        take(place, reply)


def _take_late(take: Take, place: int, sent: asyncio.Future[Any]) -> None:
    if sent.cancelled():
        take(place, BusAlreadyClosed("the bus was closed while the command waited"))
    else:
        take(place, sent.exception() or sent.result())
