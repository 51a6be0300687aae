"""Counts and times as people read them, in a terminal and on a page alike."""

from __future__ import annotations

from collections.abc import Sequence


def noun(count: int, what: str, many: str = "") -> str:
    """Return what is counted, in its number.

    Args:
        count: How many there are.
        what: The name of one.
        many: The name of several; the name of one with an "s" if it is empty.
    """
    return what if count == 1 else many or f"{what}s"


def counted(count: int, what: str, many: str = "") -> str:
    """Return a number with the noun that it counts, such as "1 event" or "1,204 events".

    Args:
        count: How many there are.
        what: The name of one.
        many: The name of several; the name of one with an "s" if it is empty.
    """
    return f"{count:,} {noun(count, what, many)}"


def listed(names: Sequence[str]) -> str:
    """Return names with commas between, and "and" before the last."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def duration(seconds: float) -> str:
    """Return a time in the unit that people would use."""
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def ago(seconds: float) -> str:
    """Return how many seconds ago something was, in the unit that people would use."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def in_short(seconds: float) -> str:
    """Return how many seconds something took, in few characters."""
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.3g} s"
