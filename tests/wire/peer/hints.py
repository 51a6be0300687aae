"""An API with the hints that 1.x treats in a way of its own, for a process of either version to read.

Lightbus 1.x does not understand annotations that are strings, so this module has none.
"""

# ruff: noqa: UP006, UP035, RUF013 - as code for 1.x is written
from dataclasses import dataclass
from typing import NamedTuple, Tuple

from lightbus import Api, Event, Parameter


@dataclass
class Line:
    """A field that may be None, though its hint does not say so."""

    sku: str
    note: str = None  # type: ignore[assignment]


class Spot(NamedTuple):
    """The same."""

    x: int
    y: int = None  # type: ignore[assignment]


class Crate:
    """A class that has annotations, and nothing that makes it of fields."""

    weight: float
    label: str = "none"


class HintsApi(Api):
    """What the tests compare the contracts of."""

    seen = Event(parameters=(Parameter("x", int, default=None), Parameter("line", Line, default=None)))

    class Meta:
        name = "hints"
        auto_register = False

    def optional(self, n: int = None, line: Line = None) -> Line:  # type: ignore[assignment]
        return line or Line("none", None if n is None else str(n))

    def spot(self, spot: Spot) -> Spot:
        return spot

    def pack(self, crate: Crate, view: memoryview) -> memoryview:
        return view

    def anything_in_it(self, items: Tuple, more: tuple = ()) -> Tuple:  # type: ignore[type-arg]
        return (*items, *more)
