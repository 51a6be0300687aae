"""JSON that people typed, in which a name that stands twice is a slip."""

from __future__ import annotations

from typing import Any


class NamedTwice(ValueError):
    """An object has two fields of one name, of which one would be lost without a word."""


def fields_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its fields: an ``object_pairs_hook`` for ``json.loads``.

    Raises:
        NamedTwice: Two of them have one name.
    """
    found = dict(fields)
    if len(found) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise NamedTwice(f"{twice!r:.80} stands twice in one object")
    return found
