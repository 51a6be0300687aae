"""A cluster: what its primaries lack, alone and together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lightbus.declared.names import first_of
from lightbus.transports.port import Finding
from lightbus.transports.redis.link.cluster.slots import SLOTS
from lightbus.transports.redis.link.cluster.topology import Topology

from .server import Server, lacking_replicas

#: The most ranges of slots, or nodes, that a sentence names.
_LISTED = 5
#: Stands for the name of a server in what may be true of several.
_SOMEONE = "\0"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, by the answers of its primaries.

    Args:
        primaries: Those that answered.
        topology: Who has which slot; None if none says so.
    """

    primaries: Sequence[Server]
    topology: Topology | None

    def faults(self, replicas: int) -> Iterator[Finding]:
        """What it lacks.

        Args:
            replicas: The number of replicas that an event waits for before it counts as fired.
        """
        yield from self._uncovered()
        yield from self._of_each()
        if self.primaries:
            yield from lacking_replicas(self.primaries, replicas)

    def _uncovered(self) -> Iterator[Finding]:
        """Tell which slots no primary has."""
        missing = self.topology.uncovered() if self.topology is not None else []
        if missing:
            count = sum(last - first + 1 for first, last in missing)
            ranges = first_of([f"{a}-{b}" if a != b else str(a) for a, b in missing], _LISTED)
            yield Finding(
                f"no primary of the cluster has the slots {ranges} ({count:,} of {SLOTS:,}): calls and "
                "events whose keys lie there fail with TransportUnavailable, and with "
                "cluster-require-full-coverage, which is the default, all others, too; bring that primary "
                "back, or let another one have its slots",
                severity="error",
                topic="away",
            )

    def _of_each(self) -> Iterator[Finding]:
        """Tell what single servers lack; what all of them do, once."""
        found: dict[Finding, list[str]] = {}
        for server in self.primaries:
            someone = replace(server, where=_SOMEONE)
            for finding in [*someone.faults(), *_alone(someone)]:
                found.setdefault(finding, []).append(server.where)
        for finding, places in found.items():
            names = places
            if len(places) == len(self.primaries) > 1:
                listed = first_of([place.removeprefix("Redis at ") for place in places], _LISTED)
                names = [f"each primary of the cluster ({listed})"]
            for name in names:
                yield replace(finding, what=finding.what.replace(_SOMEONE, name))


def _alone(server: Server) -> Iterator[Finding]:
    if not server.has_bells:
        yield Finding(
            f"{server.where} has no SSUBSCRIBE, as versions before 7.0: bus.redis.waiting is blocking "
            "whatever it says, so a process opens a connection for each slot that it waits at; upgrade it",
            severity="note",
        )
    if server.facts and not server.replicas:
        yield Finding(
            f"{server.where} has no replica in step with it: while it is away, nobody has its slots, and if "
            "it does not come back, its events are lost; give it one, on another machine",
            topic="data",
        )
