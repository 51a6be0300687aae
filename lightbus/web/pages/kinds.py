"""What dead letters have in common, as it may be shown."""

from __future__ import annotations

from dataclasses import dataclass

from lightbus.insight.dead_letters import Fingerprint, Kind, Sample
from lightbus.insight.masking import Masking
from lightbus.transports.events import DeadLetter


@dataclass(frozen=True, slots=True)
class Row:
    """Dead letters that have something in common.

    Args:
        fingerprint: That, as it may be shown.
        digest: Its name, in addresses.
        kind: How many it are.
        newest: The newest of them, as it may be shown.
    """

    fingerprint: Fingerprint
    digest: str
    kind: Kind
    newest: DeadLetter


def rows_of(sample: Sample, masking: Masking) -> list[Row]:
    """Return a row for each kind of a sample, those with most letters first."""
    found = []
    for kind in sample.kinds:
        newest = masking.letter(kind.newest)
        found.append(Row(Fingerprint.of(newest), kind.fingerprint.digest, kind, newest))
    return found
