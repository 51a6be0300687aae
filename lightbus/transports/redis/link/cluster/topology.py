"""Who has which slot, as one node of a cluster sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import HostPort

from .slots import SLOTS

#: Asks a node who has which slot, and how new its view of each node is.
WHO = (("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"))


@dataclass(frozen=True, slots=True)
class Owned:
    """Slots that follow each other, and their primary.

    Args:
        first: The first of them.
        last: The last of them.
        node: The address of the primary.
    """

    first: int
    last: int
    node: HostPort


@dataclass(frozen=True, slots=True)
class Topology:
    """The view of one node.

    Args:
        owned: All slots that have a primary.
        nodes: The addresses of all nodes, replicas included.
        epochs: For each node, by its name in the cluster, the number of the last change that it knows of.
    """

    owned: Sequence[Owned]
    nodes: frozenset[HostPort]
    epochs: Mapping[str, int]

    def is_older_than(self, other: Topology) -> bool:
        """Tell whether the node that sees this has not yet heard of all that another one had.

        So does a primary that was frozen, and replaced meanwhile: it takes itself for what it was.
        """
        newest = max(self.epochs.values(), default=0), max(other.epochs.values(), default=0)
        return newest[0] < newest[1] and any(
            self.epochs.get(name, epoch) < epoch for name, epoch in other.epochs.items()
        )

    def is_of_another(self, other: Topology) -> bool:
        """Tell whether this is another cluster: no node of the one that was seen before belongs to it."""
        return bool(self.epochs and other.epochs) and self.epochs.keys().isdisjoint(other.epochs)

    def primaries(self) -> list[HostPort]:
        """Return the primaries that have slots."""
        return list(dict.fromkeys(owned.node for owned in self.owned))

    def uncovered(self) -> list[tuple[int, int]]:
        """Return the slots that have no primary, as ranges with both ends."""
        gaps, start = [], 0
        for owned in sorted(self.owned, key=lambda each: each.first):
            if owned.first > start:
                gaps.append((start, owned.first - 1))
            start = owned.last + 1
        return [*gaps, (start, SLOTS - 1)] if start < SLOTS else gaps


def read_topology(replies: Sequence[Any], asked: HostPort) -> Topology:
    """Read the replies to :data:`WHO`.

    Args:
        replies: The replies.
        asked: The node that gave them.

    Raises:
        ReplyError: It refuses to say it.
    """
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise reply
    slots, nodes = replies
    owned, addresses = [], {asked}
    for first, last, *holders in slots:
        places = [_address(host, port, asked) for host, port, *_ in holders]
        owned.append(Owned(first, last, places[0]))
        addresses.update(places)
    epochs = {}
    for name, hosts, port, epoch in _lines(nodes):
        epochs[name] = epoch
        # A primary without slots, which slots are about to move to, is in no other list.
        addresses.update(_address(host, port, asked) for host in hosts)
    return Topology(owned, frozenset(addresses), epochs)


def address_in(redirect: ReplyError, asked: HostPort) -> HostPort:
    """Return the address that a ``MOVED`` or ``ASK`` names."""
    host, _, port = redirect.said.split()[2].rpartition(":")
    return _address(host, int(port), asked)


def _lines(nodes: bytes) -> Iterator[tuple[str, list[str], int, int]]:
    """Go through the name, hosts, port and epoch of each node, but for those without an address."""
    for line in nodes.decode("utf-8", "replace").splitlines():
        name, place, flags, _, _, _, epoch, *_ = line.split(" ")
        address, *further = place.split(",")
        host, _, port = address.partition("@")[0].rpartition(":")
        # Behind its address may stand a hostname, by which it may be called as well.
        hosts = [host, *(text for text in further[:1] if text)]
        if "noaddr" not in flags and "handshake" not in flags:
            yield name, hosts, int(port), int(epoch)


def _address(host: bytes | str | None, port: int, asked: HostPort) -> HostPort:
    """Return the address of a node; without a host of its own, it has that of the node that was asked."""
    text = host.decode() if isinstance(host, bytes) else host or ""
    if text in ("", "?"):
        return HostPort(f"{asked.rpartition(':')[0]}:{port}")
    return HostPort(f"[{text}]:{port}" if ":" in text else f"{text}:{port}")
