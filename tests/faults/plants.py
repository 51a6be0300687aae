"""For each planted bug what must go wrong for it to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.servers import Kind

from .campaign import run
from .overload import overload
from .report import Result
from .spread import run_spread


@dataclass(frozen=True)
class Scenario:
    """Which faults, for how many seconds, and what is fired."""

    faults: tuple[str, ...]
    seconds: float
    kinds: str = ""
    #: Whether there is a replica, which firing waits for.
    promised: bool = False

    def run(self, seed: int, plant: str) -> Result:
        """Run one campaign with a planted bug."""
        return run(
            *("valkey", seed, self.seconds, self.faults, plant, self.kinds),
            replicated=self.promised,
            promised=self.promised,
        )


@dataclass(frozen=True)
class AsUsers(Scenario):
    """The same with processes that may do no more than they need."""

    def run(self, seed: int, plant: str) -> Result:
        """Run one campaign with a planted bug."""
        return run("valkey", seed, self.seconds, self.faults, plant, self.kinds, acl=True)


@dataclass(frozen=True)
class OnCluster(Scenario):
    """The same on a cluster."""

    kind: Kind = "valkey"

    def run(self, seed: int, plant: str) -> Result:
        """Run one campaign with a planted bug."""
        return run_spread(
            *(self.kind, seed, self.seconds, self.faults, plant, self.kinds),
            replicas=int(self.promised),
            is_in_step=True,
        )


@dataclass(frozen=True)
class Overloaded(Scenario):
    """More than a host can do is asked of it."""

    def run(self, seed: int, plant: str) -> Result:
        """Run one overload with a planted bug."""
        return overload("valkey", seed, self.seconds, plant)


SCENARIOS: Mapping[str, Scenario] = {
    "acknowledge_first": Scenario(("kill",), 6, "killer=0 slow=3"),
    "group_at_end": Scenario(("destroy_groups",), 2),
    "no_renewal": Scenario(("quiet",), 5, "slow=5"),
    "stealing_renewal": Scenario(("freeze",), 9, "slow=5"),
    "trimming_by_length": Scenario(("kill_all",), 2),
    "wait_ignored": Scenario(("kill_lagging",), 1, promised=True),
    "wait_ignored, cluster": OnCluster(("kill_unread",), 1, promised=True),
    "replaced_kept": OnCluster(("freeze_primary",), 1),
    "expiry_elsewhere": OnCluster(("quiet",), 1),
    "missing_rule": AsUsers(("quiet",), 2),
    "leak": Overloaded((), 30),
    "unblocked_is_gone": OnCluster(("move_slot",), 6, kind="redis7"),
}


#: With so many seeds a bug is looked for: whether a freeze meets a handler that runs is chance.
_SEEDS = 3


def find(name: str, wanted: str = "") -> Result:
    """Run campaigns with a planted bug until the oracle calls one bad, as it must.

    Args:
        name: The bug, as in ``SCENARIOS``.
        wanted: What the oracle has to say against it; left out, anything.

    Returns:
        The first bad result; the last one where the bug was not found.
    """
    plant = name.partition(",")[0]
    for seed in range(1, _SEEDS + 1):
        result = SCENARIOS[name].run(seed, plant)
        found = found_by(result)
        if wanted in found if wanted else found:
            break
    return result


def found_by(result: Result) -> list[str]:
    """What the oracle says against it."""
    return [name for name, examples in result.verdict.wrong.items() if examples]
