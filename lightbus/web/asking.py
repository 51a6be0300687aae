"""What pages and actions are given: who asks, for what, and the bus; and long tables, which go by pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from lightbus.bus.client import BusClient
from lightbus.insight.audit import Actor
from lightbus.insight.traffic.pace import Paces
from lightbus.manifest.model import Manifest, Permission

from .access.rights import User
from .actions.drafts import Drafts
from .looks import Look, Looks

T = TypeVar("T")
#: How many rows of a long table a page has.
ROWS = 100


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a form, or of the query in an address.

    Args:
        values: What each of them has, in order.
    """

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of a field, without the space around it."""
        return next((text.strip() for text in self.values.get(name, ())), default)

    def texts(self, name: str) -> list[str]:
        """Return all values of a field, as they are."""
        return list(self.values.get(name, ()))


@runtime_checkable
class Long(Protocol):
    """What is too long for one page."""

    def part(self, fields: Fields) -> Any:
        """Return the part that the query of an address asks for."""


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A page of a long table.

    Args:
        rows: Its rows.
        first: The number of the first of them, from 1.
        fits: How many rows have the words that are looked for.
        all: How many rows the table has.
        find: The words that are looked for; empty for all rows.
        page: The number of the page, from 1.
        pages: How many pages there are.
    """

    rows: Sequence[T]
    first: int
    fits: int
    all: int
    find: str
    page: int
    pages: int

    @property
    def last(self) -> int:
        """The number of the last row."""
        return self.first + len(self.rows) - 1

    @property
    def is_long(self) -> bool:
        """Whether the whole table is too long for one page."""
        return self.all > ROWS


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A long table.

    Args:
        all: Its rows.
        names: Returns the names by which a row is looked for.
    """

    all: Sequence[T]
    names: Callable[[T], str]

    def part(self, fields: Fields) -> Part[T]:
        """Return the page that the query of an address asks for, by ``find`` and ``page``."""
        find, asked = fields.text("find"), fields.text("page")
        wanted = find.casefold()
        fits = [row for row in self.all if wanted in self.names(row).casefold()] if wanted else self.all
        pages = max(1, -(-len(fits) // ROWS))
        page = min(pages, max(1, int(asked))) if asked.isdecimal() and len(asked) < 10 else 1
        first = (page - 1) * ROWS
        return Part(fits[first : first + ROWS], first + 1, len(fits), len(self.all), find, page, pages)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to the bus, or the wish that something is done to it.

    Args:
        looks: The looks at the bus that all who look share.
        manifest: The manifest.
        user: Who asks.
        may: The actions that they may take, by their names.
        by: They, for the audit.
        name: The name at the end of the address.
        fields: What they have filled in: the form, or the query of the address.
        drafts: The forms that are to be confirmed.
        root: The path beneath which the console is, for what is no whole page.
    """

    looks: Looks
    manifest: Manifest
    user: User
    may: frozenset[str]
    by: Actor
    name: str
    fields: Fields
    drafts: Drafts
    root: str = ""

    @property
    def client(self) -> BusClient:
        """The bus."""
        return self.looks.client

    @property
    def api_names(self) -> list[str]:
        """The APIs whose brokers are asked."""
        return self.manifest.all_apis


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page that shows what was seen at the last look, which all who look share.

    Args:
        path: Its address.
        template: Its template, which extends ``seen.html`` and shows what was made as ``it``.
        title: Its title.
        make: Makes what it shows of a look at the bus and of the name in its address; None if there is none
            such.
        shows_letters: Whether it shows what dead letters have in common, which is asked for besides.
    """

    path: str
    template: str
    title: str
    make: Callable[[Look, Paces, str], Any]
    shows_letters: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A page that asks the bus itself, each time that somebody looks.

    Args:
        path: Its address, such as ``/events/{name:path}``.
        template: Its template, which extends ``seen.html`` and shows what was made as ``it``.
        title: Its title.
        make: Asks. It returns what the template shows, None if there is no such thing, or the whole answer as
            a response of Starlette. What it raises as a LightbusException is shown as a sentence.
            While no broker answers, others who may see the page are shown what it has returned: that must not
            depend on who asks.
        renews: Whether the page renews itself.
        permission: What somebody must be permitted to see it; None if everybody may who looks.
    """

    path: str
    template: str
    title: str
    make: Callable[[Asked], Awaitable[Any]]
    renews: bool = True
    permission: Permission | None = None
