"""Commands that a node refused for want of their slot: sent again, elsewhere or a little later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import hiredis

from lightbus.exceptions import BusAlreadyClosed, TransportUnavailable
from lightbus.transports.redis.link.channel import Batch
from lightbus.transports.redis.link.connection import ignore_outcome
from lightbus.transports.redis.link.deadlines import Outcome, fail
from lightbus.transports.redis.link.refusals import ReplyError

from .mixed import Joined, Mixed
from .node import NodePipe, Routed, is_elsewhere
from .nodes import Nodes
from .topology import address_in

#: Lets the next command use a slot that is about to be this node's.
_ASKING = hiredis.pack_command(("ASKING",))
#: Seconds until a command is sent again, if nobody can do it just now.
PAUSE = 0.01, 0.03
#: So many nodes in a row may name each other without a pause.
_HOPS = 3
#: Seconds after which a command is given up: whoever waits for it has given up before.
PATIENCE = 30.0


class Redirects:
    """Follows where nodes point to. Nothing that is sent again was done before.

    Args:
        nodes: The nodes of the cluster.
        route: Sends commands to whichever node has their slot.
    """

    def __init__(self, nodes: Nodes, route: Callable[[Routed], None]) -> None:
        self._nodes = nodes
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._resting: dict[Routed, asyncio.TimerHandle] = {}
        #: For commands in whose place others were sent, the futures of those.
        self.substitutes: dict[Outcome, list[asyncio.Future[Any]]] = {}

    def resting(self) -> Iterator[Outcome]:
        """Go through the futures of those that wait a little."""
        return (batch.future for batch in self._resting)

    def follow(self, node: NodePipe, batch: Routed, reply: Any) -> None:
        """Send again what a node has refused of a batch, in its order."""
        batch.is_refused = False
        if batch.single:
            self._again(node, batch, reply, reply)
            return
        places = [place for place, each in enumerate(reply) if is_elsewhere(each)]
        rest = batch
        if len(places) < len(reply):
            rest = self._part(batch, places)
            rest.future.add_done_callback(partial(self._merge, batch, reply, places))
            batch.future.add_done_callback(partial(_take_back, rest.future))
        refusals = [reply[place] for place in places]
        self._again(node, rest, refusals[0], refusals)

    def follow_each(self, node: NodePipe, batch: Mixed, replies: list[Any]) -> None:
        """Send again what a node has refused of commands of several slots, those of a slot in their order."""
        places: dict[int, list[int]] = {}
        for place, reply in enumerate(replies):
            if is_elsewhere(reply):
                places.setdefault(batch.slots[place], []).append(place)
        if batch.are_apart:
            for place in (place for own in places.values() for place in own):
                refusal, single = replies[place], one_of(batch, place)
                replies[place] = single.future
                self._again(node, single, refusal, refusal)
            batch.future.set_result(replies)
            return
        joined = Joined(batch.future, replies, sum(map(len, places.values())))
        again, substitutes = {}, []
        for slot, own in places.items():
            parts = [batch.parts[place] for place in own]
            future: asyncio.Future[list[Any]] = self._loop.create_future()
            future.add_done_callback(partial(joined.collect, own))
            again[slot] = Routed(future, b"".join(parts), slot, parts)
            substitutes.append(future)
        self.stand_in(batch.future, substitutes)
        for slot, part in again.items():
            refusals = [replies[place] for place in places[slot]]
            self._again(node, part, refusals[0], refusals)

    def close(self, error: Exception) -> None:
        """Fail all that waits a little."""
        for batch, timer in self._resting.items():
            timer.cancel()
            fail(batch.future, error)
        self._resting.clear()

    def _again(self, node: NodePipe, batch: Routed, refusal: ReplyError, outcome: Any) -> None:
        """Send a batch where its first refusal points to.

        Args:
            node: The node that has refused it.
            batch: The batch.
            refusal: The refusal.
            outcome: What the batch gets if that has gone on for too long.
        """
        if self._nodes.is_closed:
            fail(batch.future, BusAlreadyClosed("the bus was closed while the command waited"))
            return
        now = self._loop.time()
        batch.refused_at = batch.refused_at or now
        if now - batch.refused_at > PATIENCE:
            deliver(batch.future, outcome)
            return
        code = refusal.code
        if code != "TRYAGAIN":
            self._nodes.refresh()
        # Nothing is connected to that the cluster has not named itself: the look that begins now finds it.
        target = self._nodes.at(address_in(refusal, node.node)) if code in ("MOVED", "ASK") else None
        batch.hops += 1
        if target is None or batch.hops > _HOPS:
            batch.hops = 0
            self._rest(batch)
        elif code == "ASK":
            self._ask(target, batch)
        else:
            self._nodes.owners[batch.slot] = target
            target.put(batch)

    def _rest(self, batch: Routed) -> None:
        pause = random.uniform(*PAUSE)  # noqa: S311 - no secret
        self._resting[batch] = self._loop.call_later(pause, self._rested, batch)

    def _rested(self, batch: Routed) -> None:
        del self._resting[batch]
        if not batch.future.done():
            self._route(batch)

    def _ask(self, target: NodePipe, batch: Routed) -> None:
        """Send a batch to the node that its slot moves to, which takes it only if it is asked to."""
        commands = batch.parts or (batch.packed,)
        asking = b"".join(_ASKING + command for command in commands)
        asked: asyncio.Future[list[Any]] = self._loop.create_future()
        self.stand_in(batch.future, [asked])
        asked.add_done_callback(partial(self._note_asked, target, batch))
        target.put(Batch(asked, asking, 2 * len(commands), False, batch.is_promised))

    def _note_asked(self, target: NodePipe, batch: Routed, asked: asyncio.Future[list[Any]]) -> None:
        self.substitutes.pop(batch.future, None)
        if batch.future.done() or asked.cancelled():
            return
        error = asked.exception()
        if isinstance(error, TransportUnavailable) and not self._nodes.is_closed:
            self._rest(batch)  # It was not sent.
            return
        if error is not None:
            fail(batch.future, error)
            return
        replies = asked.result()[1::2]
        if any(map(is_elsewhere, replies)):
            self.follow(target, batch, replies[0] if batch.single else replies)
        else:
            deliver(batch.future, replies[0] if batch.single else replies)
            if batch.bell is not None:
                # Those who wait hear the node that the slot moves from, until it has moved.
                rung: asyncio.Future[Any] = self._loop.create_future()
                rung.add_done_callback(ignore_outcome)
                self._route(Routed(rung, batch.bell, batch.slot))

    def stand_in(self, future: Outcome, others: list[asyncio.Future[Any]]) -> None:
        """Note that other commands were sent in the place of one, and that they go with it."""
        self.substitutes[future] = others
        future.add_done_callback(self._end_substitutes)

    def _end_substitutes(self, future: Outcome) -> None:
        for other in self.substitutes.pop(future, ()):
            other.cancel()

    def _part(self, batch: Routed, places: list[int]) -> Routed:
        commands = batch.parts or ()
        parts = [commands[place] for place in places]
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        part = Routed(
            future, b"".join(parts), batch.slot, parts, is_promised=batch.is_promised, bell=batch.bell
        )
        part.refused_at = batch.refused_at
        return part

    def _merge(
        self, batch: Routed, replies: list[Any], places: list[int], part: asyncio.Future[list[Any]]
    ) -> None:
        """Put the replies to what was sent again into their places among the others."""
        if part.cancelled():
            return
        if (error := part.exception()) is not None:
            fail(batch.future, error)
        elif not batch.future.done():
            for place, reply in zip(places, part.result(), strict=True):
                replies[place] = reply
            batch.future.set_result(replies)


def deliver(future: Outcome, reply: Any) -> None:
    """Hand out a reply, or the refusal of a single command."""
    if isinstance(reply, ReplyError):
        future.set_exception(reply)
    else:
        future.set_result(reply)


def one_of(batch: Mixed, place: int) -> Routed:
    """Return one of commands of several slots, to be sent by itself."""
    future: asyncio.Future[Any] = batch.future.get_loop().create_future()
    return Routed(future, batch.parts[place], batch.slots[place])


def _take_back(future: Outcome, _: Outcome) -> None:
    future.cancel()
