"""Whether the events that listeners ask for are known on the bus, as far as contracts tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

#: The most names that are listed, if none is near.
_LISTED = 10
_LONGEST_NAME = 64

Contract = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Doubt:
    """An event that a listener asks for and that is not known.

    Args:
        listener: The listener.
        event: The event that it asks for, with its API.
        what: Says what is not known, and what may have been meant.
        is_certain: Whether a contract says so; else the API's owner may not have started yet.
        is_alone: Whether no other API is known either.
    """

    listener: str
    event: str
    what: str
    is_certain: bool
    is_alone: bool = False

    def __str__(self) -> str:
        return f"the listener {self.listener} waits for {self.event}: {self.what}"


def doubts(
    listeners: Mapping[str, Iterable[tuple[str, str]]],
    contracts: Mapping[str, Contract],
    defined: Iterable[str] = (),
) -> Iterator[Doubt]:
    """Go through the events that listeners ask for and that are not known.

    Args:
        listeners: Pairs of API and event name by listener; ``*`` as event stands for all of an API's.
        contracts: The contracts on the bus, by API.
        defined: APIs whose class is here, so that their names are right.
    """
    here = set(defined)
    for listener, events in listeners.items():
        for api_name, event_name in events:
            contract = contracts.get(api_name)
            if contract is not None:
                names = list(contract.get("events", ()))
                if event_name != "*" and event_name not in names:
                    what = f"{api_name} has no event {event_name}{advice(event_name, names, 'it has')}"
                    yield Doubt(listener, f"{api_name}.{event_name}", what, is_certain=True)
            elif api_name not in here:
                known = [name for name in contracts if not name.startswith("internal.")]
                what = f"no API {api_name} is known on the bus yet{advice(api_name, known, 'there is')}"
                yield Doubt(listener, f"{api_name}.{event_name}", what, is_certain=False, is_alone=not known)


def advice(name: str, known: Iterable[str], what: str) -> str:
    """Suggest the name that may have been meant by an unknown one, else list the names that there are."""
    names = sorted(known)
    near = get_close_matches(name, names, 1, 0.6) if len(name) <= _LONGEST_NAME else []
    if near:
        return f"; did you mean {near[0]}?"
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"; {what}: {listed or 'none at all'}"
