"""What dead letters have in common: counted among the newest of them, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightbus.bus.client import BusClient
from lightbus.exceptions import TransportUnavailable
from lightbus.transports.events import DeadLetter

from .filters import Filter, Fingerprint
from .pages import Walk

#: So many letters are looked at.
MOST_READ = 1_000
#: And no more once their errors and arguments have about so many characters.
_MOST_TEXT = 8_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """Dead letters with one fingerprint.

    Args:
        fingerprint: That.
        count: How many of them are in the sample.
        newest: The newest of them.
        oldest_at: When the oldest in the sample was put aside.
    """

    fingerprint: Fingerprint
    count: int
    newest: DeadLetter
    oldest_at: float


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest dead letters, by what they have in common.

    Args:
        kinds: The kinds, those with most letters first.
        read: How many letters were looked at.
        count: How many there are.
        groups: How many there are of each group.
        away: Why some brokers can't be asked; empty if all can.
    """

    kinds: tuple[Kind, ...]
    read: int
    count: int
    groups: dict[str, int]
    away: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all letters were looked at."""
        return self.read >= self.count


async def sample(
    client: BusClient, api_names: Sequence[str], chosen: Filter | None = None, *, most: int = MOST_READ
) -> Sample:
    """Count dead letters by what they have in common, among the newest.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked, each broker once.
        chosen: Chooses letters; all if left out.
        most: How many are looked at, at most.

    Raises:
        TransportUnavailable: No broker can be reached.
    """
    walk = Walk(client, api_names, chosen or Filter())
    kinds: dict[Fingerprint, Kind] = {}
    text = 0
    async for found, is_meant in walk.all():
        letter = found.letter
        if is_meant:
            it = Fingerprint.of(letter)
            known = kinds.get(it)
            newest, count = (known.newest, known.count) if known is not None else (letter, 0)
            kinds[it] = Kind(it, count + 1, newest, letter.died_at)
        text += len(letter.trace) + len(letter.error) + 100 * len(letter.message.kwargs)
        if walk.read >= most or text >= _MOST_TEXT:
            break
    if walk.away and not walk.places:
        raise TransportUnavailable("\n".join(walk.away))
    ordered = sorted(kinds.values(), key=lambda kind: (-kind.count, -kind.newest.died_at))
    return Sample(tuple(ordered), walk.read, walk.count, walk.groups, "\n".join(walk.away))
