"""A connection to a cluster for commands that block: to whichever primary has the key that they wait at."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lightbus.exceptions import TransportUnavailable
from lightbus.transports.redis.link.connection import Commands, Connector, Link, LinkBroken, Taker
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.remains import Remains

from .node import NodePipe, is_elsewhere
from .nodes import Nodes
from .redirects import PAUSE
from .slots import ANYWHERE, slot_of_command, slot_of_key
from .topology import address_in

#: A reader is told so if its slot moves, or its group is deleted: the node that has the slot by now knows.
_PERHAPS_MOVED = ("UNBLOCKED", "NOGROUP")


class ClusterLink(Link):
    """One connection for commands that block at one key.

    It follows the key to another primary, before anybody hears that something is gone.

    Args:
        nodes: The nodes of the cluster.
        connector: Connects to any of them.
        key: The key; None for the first one of the first commands.
        on_refusal: Is told of each refusal.
    """

    def __init__(
        self, nodes: Nodes, connector: Connector, key: str | None, on_refusal: Callable[[ReplyError], None]
    ) -> None:
        super().__init__(connector, on_refusal)
        self._nodes = nodes
        self._slot = None if key is None else slot_of_key(key)
        #: The node that it leads to.
        self.node: NodePipe | None = None
        # What is left of its connections to each node.
        self._remains: dict[NodePipe, Remains] = {}

    async def exchange(self, commands: Commands, timeout: float, taker: Taker | None = None) -> list[Any]:
        """Write commands at once and read their replies; those of a node without the slot do not count.

        Args:
            commands: Each a command with its arguments, for keys of one slot.
            timeout: Seconds after which the connection counts as dead; longer than the commands block.
            taker: Is given the replies before this returns.

        Returns:
            A reply for each command; what Redis refused is a :class:`ReplyError` in its place.

        Raises:
            TransportUnavailable: There is no connection to be had, or nobody has the slot.
            LinkBroken: The connection broke on the way.
        """
        got, slot = None, self._slot
        if slot is not None and self.node is not None and self._nodes.owners[slot] is self.node:
            # So it is nearly always: without refusals, there is nothing more to do.
            got = await self._ask(commands, timeout, None if taker is None else partial(_take, taker))
            if not _has_refusals(got):
                return got
        replies = await self._exchange(commands, timeout, got)
        if taker is not None:
            taker(replies)
        return replies

    async def _exchange(self, commands: Commands, timeout: float, got: list[Any] | None) -> list[Any]:
        """Ask those that have the slot, beginning with what a node says that was asked already."""
        if self._slot is None:
            self._slot = next((s for s in map(slot_of_command, commands) if s != ANYWHERE), ANYWHERE)
        deadline = asyncio.get_running_loop().time() + timeout
        replies: list[Any] = [None] * len(commands)
        left = list(range(len(commands)))
        asked, is_sure = None, False
        while True:
            if got is None:
                await self._go_to(asked or await self._owner(self._slot, deadline))
                ask = self._ask if asked is None else self._ask_anyway
                got = await ask([commands[place] for place in left], timeout)
            for place, reply in zip(left, got, strict=True):
                replies[place] = reply
            refusals = [reply for reply in got if reply.__class__ is ReplyError]
            if not refusals:
                return replies
            left = [place for place in left if self._is_open(replies[place], is_sure=is_sure)]
            if not left or asyncio.get_running_loop().time() > deadline:
                return replies
            is_sure = is_sure or replies[left[0]].code == "NOGROUP"
            asked, got = await self._follow(replies[left[0]]), None

    def end_remains(self) -> None:
        """Let what is left of its connections end before anything that is sent from now on is done."""
        for node, remains in list(self._remains.items()):
            if node.is_closed:
                del self._remains[node]  # It has no key any more.
            else:
                node.end(remains)

    async def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        if self.node is not None:
            self.node.links.discard(self)
            self.node = None
        await super().close()

    async def _go_to(self, node: NodePipe) -> None:
        if node is self.node:
            return
        await self.close()
        self.node, self._connector = node, node.connector
        self.remains = self._remains.setdefault(node, Remains())
        node.links.add(self)

    async def _ask(self, commands: Commands, timeout: float, taker: Taker | None = None) -> list[Any]:
        try:
            return await super().exchange(commands, timeout, taker)
        except (LinkBroken, TransportUnavailable):
            self._nodes.refresh()
            raise

    async def _ask_anyway(self, commands: Commands, timeout: float) -> list[Any]:
        """Ask a node that is about to get the slot."""
        asking = [each for command in commands for each in (("ASKING",), command)]
        return (await self._ask(asking, timeout))[1::2]

    async def _owner(self, slot: int, deadline: float) -> NodePipe:
        """Return the node that has a slot, waiting for it while there is time."""
        while (node := self._nodes.owners[slot]) is None:
            await self._nodes.look()
            failure = self._nodes.failure
            is_late = asyncio.get_running_loop().time() > deadline
            if failure is not None and (is_late or self._nodes.topology is None):
                raise TransportUnavailable(str(failure))
        return node

    @staticmethod
    def _is_open(reply: object, *, is_sure: bool) -> bool:
        """Tell whether the owner of the slot has yet to say it."""
        if not isinstance(reply, ReplyError):
            return False
        return is_elsewhere(reply) or reply.code == "UNBLOCKED" or (reply.code == "NOGROUP" and not is_sure)

    async def _follow(self, refusal: ReplyError) -> NodePipe | None:
        """Find the node that a refusal points to; return it if it must be asked to take the commands."""
        code, node = refusal.code, self.node
        if code in _PERHAPS_MOVED:
            await self._nodes.look()
            return None
        target = None
        if code in ("MOVED", "ASK") and node is not None:
            target = self._nodes.at(address_in(refusal, node.node))
        if code != "TRYAGAIN":
            self._nodes.refresh()
        if code == "ASK" and target is not None:
            return target
        if code == "MOVED" and target is not None and self._slot is not None:
            self._nodes.owners[self._slot] = target
        await asyncio.sleep(random.uniform(*PAUSE))  # noqa: S311 - no secret
        return None


def _has_refusals(replies: Sequence[object]) -> bool:
    return any(reply.__class__ is ReplyError for reply in replies)


def _take(taker: Taker, replies: list[Any]) -> None:
    """Take replies as they come, unless another node may have something to say about them."""
    if not _has_refusals(replies):
        taker(replies)
