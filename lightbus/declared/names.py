"""Names that were probably meant by those that nobody has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: The most names that are listed, if none is near.
_LISTED = 10
_LONGEST_NAME = 64


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is nearest to an unknown one; None if none is near."""
    # Only a name that nobody has needs it: that is no part of a start.
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(known), 1, 0.6) if len(name) <= _LONGEST_NAME else []
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?``; nothing if no name is near."""
    near = meant(name, known)
    return f"; did you mean {near}?" if near is not None else ""


def listed(name: str, known: Iterable[str]) -> str:
    """Return all names that there are, and the one that was probably meant."""
    names = sorted(known)
    return (", ".join(names) or "none at all") + did_you_mean(name, names)


def first_of(names: Sequence[str], most: int) -> str:
    """Return the first names with commas between, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def advice(name: str, known: Iterable[str], what: str) -> str:
    """Suggest the name that may have been meant by an unknown one, else list the names that there are."""
    names = sorted(known)
    some = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return did_you_mean(name, names) or f"; {what}: {some or 'none at all'}"
