"""How contracts have changed: from looks at them, since the bus keeps only the one that holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightbus.contracts.compare import compare, is_whole
from lightbus.exceptions import InvalidMessage

#: The most differences that are kept of a contract.
_MOST = 50


@dataclass(frozen=True, slots=True)
class Revision:
    """A contract that took the place of another one.

    Args:
        at: When that was seen, as a Unix time.
        differences: A sentence for each, with whether it breaks somebody.
        more: How many further differences there are.
    """

    at: float
    differences: tuple[tuple[str, bool], ...]
    more: int = 0


class Revisions:
    """Remembers the last change of each contract that was seen."""

    def __init__(self) -> None:
        self._contracts: dict[str, Mapping[str, Any]] = {}
        self._changes: dict[str, Revision] = {}

    def note(self, at: float, contracts: Mapping[str, Mapping[str, Any]]) -> None:
        """Take note of a look.

        Args:
            at: When it was, as a Unix time.
            contracts: The contracts by API. One that is gone is compared with the next one.
        """
        for api, contract in contracts.items():
            before = self._contracts.get(api)
            if before == contract:
                continue
            self._contracts[api] = contract
            if before is not None and (found := list(_differences(before, contract, api))):
                self._changes[api] = Revision(at, tuple(found[:_MOST]), max(0, len(found) - _MOST))

    def of(self, api: str) -> Revision | None:
        """Return the last change of an API's contract that was seen; None if there was none."""
        return self._changes.get(api)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], api: str) -> Iterator[tuple[str, bool]]:
    if not (is_whole(old) and is_whole(new)):
        yield "It can't be compared with the one before: one of the two is no whole contract.", False
        return
    try:
        for each in compare(dict(old), dict(new), api):
            yield str(each), each.breaking
    except InvalidMessage as e:
        yield f"It can't be compared with the one before: {e}", False
