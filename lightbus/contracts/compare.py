"""Comparing two contracts: for each difference, who would break?

Each side is asked whether it may stay as it is while the others move on to the new contract:

- callers: old callers with a new owner;
- listeners: old listeners with the events of a new owner;
- owner: an old owner with new callers and listeners, as before its deployment or after a rollback.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .differences import Change, Differ


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two contracts.

    Args:
        api: The API's name.
        kind: Whether a procedure, an event or the whole API differs.
        name: The procedure's or event's name; empty for the whole API.
        path: The place in it, such as ``parameters.order.lines[].qty``; empty for all of it.
        what: The difference in words.
        callers: Whether callers built for the old contract break.
        owner: Whether an owner built for the old contract fails peers built for the new one.
        listeners: Whether listeners built for the old contract break.
    """

    api: str
    kind: Literal["api", "procedure", "event"]
    name: str
    path: str
    what: str
    callers: bool = False
    owner: bool = False
    listeners: bool = False

    @property
    def breaking(self) -> bool:
        """Whether the owner can't move on without breaking callers or listeners that stay."""
        return self.callers or self.listeners

    def __str__(self) -> str:
        brackets = "()" if self.kind == "procedure" else ""
        place = ".".join(part for part in (self.api, self.name) if part) + brackets
        sides = [s for s in ("callers", "listeners") if getattr(self, s)]
        verdict = f"breaks {' and '.join(sides)}" if sides else "breaks nobody"
        if self.owner:
            verdict += "; deploy the owner first" if not sides else "; an old owner fails new peers"
        return f"{place}{' ' + self.path if self.path else ''}: {self.what} ({verdict})"


def compare(old: dict[str, Any], new: dict[str, Any], api: str = "") -> list[Difference]:
    """Compare two contracts of one API.

    Args:
        old: The contract that callers and listeners were built for.
        new: The contract that its owner is to publish.
        api: The API's name, for the result.

    Returns:
        The differences, procedures first, in the order of their names; none where both mean the same.
    """
    return [
        *_compare(api, "procedure", old["rpcs"], new["rpcs"]),
        *_compare(api, "event", old["events"], new["events"]),
    ]


def is_whole(contract: Mapping[str, Any]) -> bool:
    """Tell whether a contract has all that is compared: anybody may have put it on the bus."""
    parts = {"rpcs": ("parameters", "response"), "events": ("parameters",)}
    return all(
        isinstance(contract.get(kind), Mapping)
        and all(isinstance(each, Mapping) and each.keys() >= {*wanted} for each in contract[kind].values())
        for kind, wanted in parts.items()
    )


def compare_all(old: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]) -> list[Difference]:
    """Compare two sets of contracts, by API.

    Args:
        old: The contracts that callers and listeners were built for.
        new: The contracts that are to be published.

    Returns:
        The differences, in the order of the APIs' names.
    """
    found: list[Difference] = []
    for api in sorted({*old, *new}):
        if api not in new:
            called, fired = bool(old[api]["rpcs"]), bool(old[api]["events"])
            found.append(Difference(api, "api", "", "", "is gone", callers=called, listeners=fired))
        elif api not in old:
            found.append(Difference(api, "api", "", "", "is new", owner=bool(new[api]["rpcs"])))
        else:
            found += compare(old[api], new[api], api)
    return found


def _compare(
    api: str, kind: Literal["procedure", "event"], old: dict[str, Any], new: dict[str, Any]
) -> Iterator[Difference]:
    called = kind == "procedure"
    for name in sorted({*old, *new}):
        if name not in new:
            what = "is gone" + _renamed(old, new, name)
            yield Difference(api, kind, name, "", what, callers=called, listeners=not called)
        elif name not in old:
            yield Difference(api, kind, name, "", "is new", owner=called)
        else:
            verdicts = _procedure(old[name], new[name]) if called else _event(old[name], new[name])
            for change, *sides in verdicts:
                yield Difference(api, kind, name, change.path, change.what, *sides)


def _procedure(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[Change, bool, bool]]:
    """Yield each change, and whether it breaks callers and the owner."""
    for change in _changes(old["parameters"], new["parameters"], "parameters"):
        yield change, change.narrows, change.widens
    for change in _changes(old["response"], new["response"], "response"):
        yield change, change.widens, change.narrows


def _event(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[Change, bool, bool, bool]]:
    """Yield each change, and whether it breaks callers (never), the owner and listeners."""
    before, after = old["parameters"], new["parameters"]
    # An event is fired with its defaults filled in, so that listeners may count on every parameter.
    gone = {f"parameters.{p}" for p in before.get("properties", {}) if p not in after.get("properties", {})}
    for change in _changes(before, after, "parameters"):
        yield change, False, change.narrows, change.widens or change.path in gone


def _changes(old: Any, new: Any, path: str) -> list[Change]:
    return Differ(old, new).changes(path)


def _renamed(old: dict[str, Any], new: dict[str, Any], name: str) -> str:
    """Guess a new name: one that is new and takes and gives the same."""
    for other in sorted(new.keys() - old.keys()):
        if all(not _changes(old[name][part], new[other][part], part) for part in old[name]):
            return f", perhaps renamed to {other}"
    return ""
