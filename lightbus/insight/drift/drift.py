"""One difference between what a service declares and what its bus has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place

from .declared import Declared, DeclaredListener
from .live import Live, Stream

#: What becomes of the subject: it is made, goes, breaks, or changes.
Sign = Literal["+", "-", "!", "~"]
Severity = Literal["danger", "change"]

NOWHERE = Place("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference.

    Args:
        kind: Its kind, as in the table of kinds.
        sign: What becomes of the subject.
        subject: The thing that differs, such as ``listener shop-greet``.
        change: The difference in words.
        consequence: What follows from it; empty where nothing does.
        hint: What to do about it; empty where that is nothing.
        severity: Whether something is lost or breaks.
        paths: The keys of the manifest that say so, the first of which that is written there counts.
        place: Where that is; an empty place where it is not in the manifest.
    """

    sign: Sign
    subject: str
    change: str
    consequence: str = ""
    hint: str = ""
    severity: Severity = "change"
    paths: tuple[str, ...] = ()
    kind: str = ""
    path: str = ""
    place: Place = NOWHERE

    @property
    def sentence(self) -> str:
        """The difference and what follows from it."""
        return f"{self.change}: {self.consequence}" if self.consequence else self.change


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The two sides that are compared.

    Args:
        manifest: The manifest.
        declared: What it declares, with the code that was imported.
        contracts: The contracts of the APIs that the service owns; None if the code was not imported.
        knows_code: Whether all that code declares is known: it was imported, and sets up nothing later on.
        live: What the bus has.
    """

    manifest: Manifest
    declared: Declared
    contracts: Mapping[str, dict[str, Any]] | None
    knows_code: bool
    live: Live

    @property
    def before(self) -> Declared:
        """What the service declared when it was started last; nothing if it never was."""
        return self.live.before or Declared(service=self.declared.service)

    @property
    def service(self) -> str:
        """The service."""
        return self.declared.service

    def streams_of(self, listener: DeclaredListener) -> list[Stream]:
        """Return the streams that a listener is going to read."""
        return [stream for stream in self.live.streams if listener.listens(stream.events)]

    def is_unseen(self, name: str) -> bool:
        """Tell whether a listener or schedule that is not declared may be, by code that was not run."""
        if self.knows_code:
            return False
        if self.live.before is None:
            return True
        known = self.before.listeners.get(name) or self.before.schedules.get(name)
        return known is not None and known.in_code
