"""The nodes of a cluster, and which of them has which slot; asked again whenever that may have changed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lightbus.exceptions import TransportUnavailable
from lightbus.options import Duration
from lightbus.runtime.cancellation import end, is_ending
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.retrying import backoff
from lightbus.runtime.tasks import begin
from lightbus.transports.redis.link.connection import Connector, LinkBroken
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.link.reaching.outages import Hearers, Outages
from lightbus.transports.redis.options import HostPort, RedisOptions

from .node import NodePipe, Router
from .primaries import NoCluster, ask, silent, understood
from .slots import ANYWHERE, SLOTS
from .topology import WHO, Topology

#: The least seconds between two looks at who has which slot, and the most while something is amiss.
_LEAST, _MOST = 0.1, 1.0
#: Seconds that a node has to say it.
_PATIENCE = 0.5
#: Seconds that connecting to a node and asking it may take, where there is no connection. At first, when no
#: node is known to answer, it is a share of `connect_timeout`, if that is more.
_STRANGE = Duration(1.0)


class Nodes:
    """The pipes to the primaries of one cluster.

    They are connected to when they are first used. Only addresses that the cluster itself names get the
    password: it is asked at those in the options, and at those that are known from there. Only those in the
    options may name another cluster than before.

    Args:
        options: The address and the credentials.
        router: Finds another node for what one can't do.
        told: Shows that commands don't reach the cluster, or a node of it.
        after_look: Is called after each look; tells whether commands still wait for what it did not find.
        promise: The replicas that must have what is stored in each node.
    """

    def __init__(
        self,
        options: RedisOptions,
        router: Router,
        told: Hearers,
        after_look: Callable[[], bool],
        promise: Promise | None,
    ) -> None:
        self._options, self._router, self._told, self._promise = options, router, told, promise
        self._go_on = after_look
        self._loop = asyncio.get_running_loop()
        #: The node that has each slot. The last one, at :data:`ANYWHERE`, takes what needs none.
        self.owners: list[NodePipe | None] = [None] * (SLOTS + 1)
        self._by_address: dict[HostPort, NodePipe] = {}
        #: The last view of the cluster that was believed; None before the first.
        self.topology: Topology | None = None
        #: Why it is not known who has which slot, or which have nobody.
        self.failure: TransportUnavailable | None = None
        self.outages = Outages(options.address, told, promise)
        #: The nodes that were replaced: how long each was away.
        self._former: list[Outages] = []
        self._former_reconnects = 0
        self._leaving: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._looked_at = -_MOST
        self._in_vain = 0
        self.is_closed = False

    def __iter__(self) -> Iterator[NodePipe]:
        """Go through those that are known to be primaries."""
        return iter(list(self._by_address.values()))

    @property
    def with_slots(self) -> list[NodePipe]:
        """The primaries that have slots."""
        return [node for node in self._by_address.values() if node.has_slots]

    @property
    def reconnects(self) -> int:
        """How often connections were made again."""
        return self._former_reconnects + sum(node.reconnects for node in self._by_address.values())

    @property
    def all_outages(self) -> list[Outages]:
        """The outages of all nodes, the ones that were replaced included."""
        return [*(node.outages for node in self._by_address.values()), *self._former, self.outages]

    def at(self, address: HostPort) -> NodePipe | None:
        """Return the node at an address; None unless the cluster has named it."""
        node = self._by_address.get(address)
        if node is None and self.topology is not None and address in self.topology.nodes:
            node = self._make(address)
        return node

    def refresh(self) -> None:
        """Ask who has which slot, soon; however often this is called, at most ten times a second."""
        if self._looking is None and not self.is_closed:
            if self._again is not None:
                self._again.cancel()
                self._again = None
            self._looking = begin(self._look(), "lightbus redis topology")
            self._looking.add_done_callback(self._after_look)

    async def look(self) -> None:
        """Ask who has which slot, and wait until it was tried."""
        self.refresh()
        if self._looking is not None:
            await asyncio.wait([self._looking])

    async def close(self) -> None:
        """Close all connections."""
        self.is_closed = True
        if self._again is not None:
            self._again.cancel()
        if self._looking is not None:
            end(self._looking)
            await asyncio.wait([self._looking])
        await asyncio.gather(*(node.close() for node in self._by_address.values()))
        if self._leaving:
            await asyncio.wait(self._leaving)

    def forget(self, obstacles: Obstacles) -> None:
        """Tell these no more of what is in the way of commands."""
        for outages in self.all_outages:
            obstacles.clear(outages.obstacle)

    def _make(self, address: HostPort) -> NodePipe:
        connector = Connector(self._options, address)
        timeout = self._options.command_timeout
        node = NodePipe(self._router, connector, timeout, self._told, self._promise)
        self._by_address[address] = node
        return node

    async def _look(self) -> None:
        """Ask nodes until one gives a view that is as new as what is known already."""
        pause = self._looked_at + _LEAST - self._loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        self._looked_at = self._loop.time()
        failure: TransportUnavailable | None = None
        candidates = self._candidates()
        patience = _STRANGE
        if self.topology is None:
            # Nothing goes on meanwhile that a silent one could hold up, and it is told as an error.
            patience = Duration(max(_STRANGE, self._options.connect_timeout / len(candidates)))
        for address in candidates:
            try:
                found = await self._ask(address, patience)
            except TransportUnavailable as e:
                # One that says what is wrong with the configuration is worth more than one that is away.
                failure = e if failure is None or isinstance(e, NoCluster) else failure
                continue
            known = self.topology
            if known is not None and address not in self._options.seeds and found.is_of_another(known):
                # It has gone over, or its address has: what is sent here does not belong there.
                failure = failure or TransportUnavailable(f"Redis at {address} belongs to another cluster")
            elif known is None or not found.is_older_than(known):
                self._believe(found)
                return
        self._note_failure(failure)

    async def _ask(self, address: HostPort, patience: Duration) -> Topology:
        node = self._by_address.get(address)
        if node is not None and node.is_connected:
            try:
                async with asyncio.timeout(_PATIENCE):
                    replies = await node.send_many(WHO)
            except (TimeoutError, LinkBroken) as e:
                why = str(e) or f"no answer within {_PATIENCE:g} s"
                raise TransportUnavailable(silent(address, why)) from None
            return understood(replies, address)
        options = replace(self._options, connect_timeout=min(self._options.connect_timeout, patience))
        return await ask(options, address, patience)

    def _candidates(self) -> list[HostPort]:
        """The nodes to ask, those that answer first: any of them knows."""
        connected = [node.node for node in self._by_address.values() if node.is_connected]
        random.shuffle(connected)
        # Any other may be away: it must not be the same one that is waited for each time.
        others = [*self._options.seeds, *(self.topology.nodes if self.topology is not None else ())]
        silent = {node.node for node in self._by_address.values() if node.is_in_trouble}
        random.shuffle(others)
        return list(dict.fromkeys([*connected, *sorted(others, key=silent.__contains__)]))

    def _believe(self, topology: Topology) -> None:
        """Let each slot lead to its primary; give up those that were replaced."""
        self.topology = topology
        owners: list[NodePipe | None] = [None] * (SLOTS + 1)
        for owned in topology.owned:
            node = self._by_address.get(owned.node) or self._make(owned.node)
            owners[owned.first : owned.last + 1] = [node] * (owned.last + 1 - owned.first)
        self.owners[:] = owners
        holding = set(owners)
        for node in self:
            had_slots, node.has_slots = node.has_slots, node in holding
            if not node.has_slots and (had_slots or node.node not in topology.nodes):
                self._retire(node)
        self.choose_any()
        self._note_coverage(topology)

    def choose_any(self) -> None:
        """Let what needs no slot go to a primary that answers, and stay there while it does."""
        chosen, usable = self.owners[ANYWHERE], self.with_slots
        if chosen not in usable or not chosen.is_connected:
            self.owners[ANYWHERE] = next((n for n in usable if n.is_connected), next(iter(usable), None))

    def _retire(self, node: NodePipe) -> None:
        """Give up a node that was a primary."""
        node.outages.log(logging.INFO, f"Redis at {node.address} is no primary of the cluster any more")
        del self._by_address[node.node]
        self._former_reconnects += node.reconnects + 1
        self._former = [*self._former[-7:], node.outages]
        self._router.note_replaced(node)
        closing = begin(node.close(), "lightbus redis pipe that closes")
        self._leaving.add(closing)
        closing.add_done_callback(self._leaving.discard)

    def _note_coverage(self, topology: Topology) -> None:
        gaps = ", ".join(f"{a}-{b}" if a < b else str(a) for a, b in topology.uncovered())
        if not gaps:
            if self.failure is not None:
                self.outages.clear()
            self.failure = None
            return
        told = f"the slots {gaps} of the {self._options.address} have no primary that is up"
        if self.failure is None or str(self.failure) != told:
            self.outages.log(logging.WARNING, f"{told}; commands for keys in them wait until they have")
        self.failure = TransportUnavailable(told)
        self.outages.tell(told)

    def _note_failure(self, failure: TransportUnavailable | None) -> None:
        if failure is None:
            # Each of them is behind: the one that knows more is away.
            return
        self.failure = failure
        self.outages.tell(str(failure))

    def _after_look(self, looked: asyncio.Task[Any]) -> None:
        """Look again while something is amiss, in longer and longer intervals."""
        self._looking = None
        if self.is_closed or is_ending(looked):
            return
        is_wanted = self._go_on() or self.topology is None
        if not is_wanted and not any(node.is_in_trouble for node in self._by_address.values()):
            self._in_vain = 0
            return
        if self._looking is not None:
            return  # Somebody wants it at once.
        self._in_vain += 1
        self._again = self._loop.call_later(max(_LEAST, backoff(self._in_vain, _MOST)), self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self.refresh()
