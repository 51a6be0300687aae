"""Whether the events that listeners ask for, and the calls that manifests declare, are known to contracts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightbus.declared.names import advice, did_you_mean, meant

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
    named: Iterable[str] = (),
) -> Iterator[Doubt]:
    """Go through the events that listeners ask for and that are not known.

    Args:
        listeners: Pairs of API and event name by listener; ``*`` as event stands for all of an API's.
        contracts: The contracts of others that are known, by API.
        defined: APIs whose class is here, so that their names are right.
        named: APIs that a manifest names, one of which may have been meant.
    """
    here, in_manifest = set(defined), set(named)
    for listener, events in listeners.items():
        for api_name, event_name in events:
            contract = contracts.get(api_name)
            if contract is not None:
                # It comes from others, and may be anything.
                told = contract.get("events")
                names = list(told) if isinstance(told, Mapping) else []
                if event_name != "*" and event_name not in names:
                    what = f"{api_name} has no event {event_name}{advice(event_name, names, 'it has')}"
                    yield Doubt(listener, f"{api_name}.{event_name}", what, is_certain=True)
            elif api_name not in here:
                known = [name for name in contracts if not name.startswith("internal.")]
                # If the manifest names it, its owner has only not started yet.
                near = "" if api_name in in_manifest else did_you_mean(api_name, in_manifest | here)
                near = near or advice(api_name, known, "there is")
                what = f"no API {api_name} is known on the bus yet{near}"
                yield Doubt(listener, f"{api_name}.{event_name}", what, is_certain=False, is_alone=not known)


def misspelt(
    listeners: Mapping[str, Iterable[tuple[str, str]]], named: Iterable[str]
) -> Iterator[tuple[str, str, str]]:
    """Go through the events of APIs that no manifest and no code names, while one of nearly that name is.

    Args:
        listeners: As for :func:`doubts`.
        named: The APIs that the manifest or the code names besides.

    Returns:
        The listener, the event with its API, and the API that was probably meant.
    """
    names = set(named)
    for listener, events in listeners.items():
        for api_name, event_name in events:
            near = meant(api_name, names) if api_name not in names else None
            if near is not None:
                yield listener, f"{api_name}.{event_name}", near


@dataclass(frozen=True, slots=True)
class DoubtfulCall:
    """A name among the calls that a manifest declares, which is not known.

    Args:
        name: The name: of an API, or of a procedure with its API.
        what: Says what is not known, and what may have been meant.
        is_certain: Whether the API is known, and has no such procedure; else its owner may not have started.
        has_near: Whether a name that is known may have been meant.
    """

    name: str
    what: str
    is_certain: bool
    has_near: bool


def doubtful_calls(
    names: Iterable[str], known: Mapping[str, Collection[str] | None]
) -> Iterator[DoubtfulCall]:
    """Go through those calls that nobody has.

    Args:
        names: The names of APIs or procedures.
        known: The procedures of each API that is known; None if only the API's name is.
    """
    own = {api: procedures for api, procedures in known.items() if not api.startswith("internal.")}
    for name in names:
        api, _, procedure = name.rpartition(".")
        if name in known or (api in known and (known[api] is None or procedure in (known[api] or ()))):
            continue
        if api in known:
            procedures = known[api] or ()
            what = f"{api} has no procedure {procedure}{advice(procedure, procedures, 'it has')}"
            yield DoubtfulCall(name, what, True, meant(procedure, procedures) is not None)
            continue
        near = meant(name, [f"{each}.{one}" for each, ones in own.items() for one in ones or ()])
        if near is None:
            of_near = meant(api, own)
            near = f"{of_near}.{procedure}" if of_near is not None else meant(name, own)
        advised = f"; did you mean {near}?" if near is not None else advice(api or name, own, "there is")
        yield DoubtfulCall(name, f"no such API is known{advised}", False, near is not None)


def procedures_of(contracts: Mapping[str, Contract]) -> dict[str, Collection[str]]:
    """Return the procedures of each API by its contract, which comes from others and may be anything."""
    told = {name: contract.get("rpcs") for name, contract in contracts.items()}
    return {name: list(rpcs) if isinstance(rpcs, Mapping) else [] for name, rpcs in told.items()}
