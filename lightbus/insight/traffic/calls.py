"""The calls of each procedure: what waits and runs, how fast they go, how they end, and who makes them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightbus.bus.client import BusClient
from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.insight.overview import ApiStatus
from lightbus.transports.cards import Card, ProcedureCard
from lightbus.transports.rpc import QueuedCalls

#: The most calls of a list that are looked at: others are counted by the length of the list alone.
MOST_LOOKED_AT = 200
#: Processes tell what they have run within so many seconds.
_RECENT = 600.0


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago a call was first seen.

    Args:
        seconds: That.
        is_least: Whether it was there at the first look, and may be older.
    """

    seconds: float
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class ProcedureStatus:
    """A procedure, by all processes that serve it.

    Args:
        api: Its API.
        name: Its name; empty for the calls of an API of which it is not known.
        owner: The service that owns the API, as far as that is known.
        is_served: Whether some process serves it.
        waiting: How many of its calls nobody has taken.
        running: How many were taken and not answered.
        is_told: Whether that is known: an operator's rules need not let calls be read.
        is_all: Whether all calls were looked at; else there may be more.
        oldest: How long the oldest of those that wait is there; None if none waits.
        longest: How long the one runs that runs longest; None if none runs.
        rate: How often it ran in a second, by the last ten minutes; None if no process tells.
        outcomes: How often it had which outcome in that time, the most frequent first.
        p50: The longest time within which half of the runs of a process were over; None if there were none.
        p95: Likewise, of 95 %.
        callers: How often each service has called it within the last hour.
    """

    api: str
    name: str
    owner: str | None = None
    is_served: bool = False
    waiting: int = 0
    running: int = 0
    is_told: bool = True
    is_all: bool = True
    oldest: Age | None = None
    longest: Age | None = None
    rate: float | None = None
    outcomes: tuple[tuple[str, int], ...] = ()
    p50: float | None = None
    p95: float | None = None
    callers: tuple[tuple[str, int], ...] = ()

    @property
    def errors(self) -> int:
        """How many of its runs did not end well."""
        return sum(number for outcome, number in self.outcomes if outcome != "ok")


@dataclass(slots=True)
class Ages:
    """When calls were first seen, by looks at the queues one after the other."""

    _began: float | None = None
    _at: float = 0.0
    #: By API, since calls of several may have the same id.
    _first: dict[tuple[str, str], float] = field(default_factory=dict)

    def note(self, at: float, queued: Iterable[QueuedCalls]) -> None:
        """Take note of a look.

        Args:
            at: When it was, in seconds by any clock that does not go back.
            queued: What was seen.
        """
        self._began = at if self._began is None else self._began
        ids = {(each.api_name, id_) for each in queued for _, id_ in (*each.waiting, *each.running) if id_}
        self._first = {key: self._first.get(key, at) for key in ids}
        self._at = at

    def oldest(self, api: str, ids: Iterable[str]) -> Age | None:
        """Return how long the oldest of some calls is there; None if none was seen."""
        first = min((self._first[api, id_] for id_ in ids if (api, id_) in self._first), default=None)
        return None if first is None else Age(self._at - first, first == self._began)


async def queued(client: BusClient, apis: Iterable[ApiStatus]) -> list[QueuedCalls]:
    """Look at the queues of APIs in which something waits or runs.

    Args:
        client: The bus.
        apis: The APIs.

    Returns:
        What was seen; nothing of those whose broker does not tell, or does not let this user look.
    """
    found = await asyncio.gather(*(_queued(client, it.name) for it in apis if it.waiting or it.running))
    return [each for each in found if each is not None]


async def _queued(client: BusClient, api: str) -> QueuedCalls | None:
    try:
        return await client.transports().rpc(api).queued_calls(api, MOST_LOOKED_AT)
    except (TransportError, TransportUnavailable):
        return None


def calls(
    apis: Sequence[ApiStatus],
    cards: Sequence[Card],
    contracts: Mapping[str, Mapping[str, Any]],
    queued: Sequence[QueuedCalls],
    ages: Ages,
    now: float,
) -> list[ProcedureStatus]:
    """Return each procedure that is on the bus, those for which most waits first.

    Args:
        apis: The APIs.
        cards: What processes say of themselves.
        contracts: The contracts, by API.
        queued: The calls that wait and run.
        ages: When those were first seen.
        now: The time, as processes have it.
    """
    known: dict[tuple[str, str], None] = {}
    for it in apis:
        known |= dict.fromkeys((it.name, name) for name in contracts.get(it.name, {}).get("rpcs", ()))
    served: dict[tuple[str, str], list[tuple[Card, ProcedureCard]]] = {}
    callers: dict[tuple[str, str], Counter[str]] = {}
    for card in cards:
        for procedure in card.procedures:
            served.setdefault((procedure.api, procedure.name), []).append((card, procedure))
        for full, number in card.calls.items():
            api, _, name = full.rpartition(".")
            callers.setdefault((api, name), Counter())[card.service] += number
    by_api = {each.api_name: each for each in queued}
    for each in queued:
        known |= dict.fromkeys((each.api_name, name) for name, _ in (*each.waiting, *each.running))
    status = {it.name: it for it in apis}
    found = []
    for key in dict.fromkeys([*known, *served, *callers]):
        if not key[0].startswith("internal."):
            counted = _counted(key, status.get(key[0]), by_api.get(key[0]), ages)
            found.append(_status(key, counted, served.get(key, []), callers.get(key, Counter()), now))
    return sorted(found, key=lambda each: (-each.waiting, -each.running, -each.errors, each.api, each.name))


def _counted(
    key: tuple[str, str], status: ApiStatus | None, queued: QueuedCalls | None, ages: Ages
) -> dict[str, Any]:
    """Return what is known of a procedure by the queue of its API."""
    api, name = key
    about: dict[str, Any] = {}
    if status is not None:
        about = {"owner": status.owner, "is_served": bool(status.processes) or status.is_1x}
    if queued is None:
        is_empty = status is None or not (status.waiting or status.running)
        return about | {"is_told": is_empty}
    waiting = [id_ for procedure, id_ in queued.waiting if procedure == name]
    running = [id_ for procedure, id_ in queued.running if procedure == name]
    return about | {
        "waiting": len(waiting),
        "running": len(running),
        "is_all": queued.is_all,
        "oldest": ages.oldest(api, waiting),
        "longest": ages.oldest(api, running),
    }


def _status(
    key: tuple[str, str],
    counted: Mapping[str, Any],
    served: Sequence[tuple[Card, ProcedureCard]],
    callers: Counter[str],
    now: float,
) -> ProcedureStatus:
    outcomes: Counter[str] = Counter()
    rates = []
    for card, it in served:
        for outcome, number in it.recent.outcomes.items():
            outcomes[outcome] += number
        # A process that was started a minute ago has counted for a minute.
        seconds = max(1.0, min(_RECENT, now - card.started_at))
        rates.append(sum(it.recent.outcomes.values()) / seconds)
    owner = counted.get("owner") or next((card.service for card, _ in served), None)
    return ProcedureStatus(
        *key,
        **{**counted, "owner": owner, "is_served": counted.get("is_served") or bool(served)},
        rate=sum(rates) if rates else None,
        outcomes=tuple(outcomes.most_common()),
        p50=max(filter(None, (it.recent.p50 for _, it in served)), default=None),
        p95=max(filter(None, (it.recent.p95 for _, it in served)), default=None),
        callers=tuple(callers.most_common()),
    )
