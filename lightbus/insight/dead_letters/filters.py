"""Which dead letters are meant, and which of them are alike."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

from lightbus.transports.events import DeadLetter

_CLASS = re.compile(r"[A-Za-z_][\w.]*(?=\()")
_FRAME = re.compile(r'^[\s|]*File "([^"\n]+)", line (\d+), in (\S+)', re.MULTILINE)
#: The longest trace of which it is kept where it was raised, in characters.
_LONGEST_KEPT = 4_096


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What dead letters have in common that probably have one cause.

    Args:
        group: The group of their listener.
        event: The event, with its API; empty if it can't be read.
        reason: Why they were put aside.
        error: The class of the error.
        raised_at: The file and line where it was raised; empty if that is not known.
        function: The function there.
    """

    group: str
    event: str
    reason: str
    error: str = ""
    raised_at: str = ""
    function: str = ""

    @classmethod
    def of(cls, letter: DeadLetter) -> Fingerprint:
        """Return the fingerprint of a letter."""
        # Very many letters may have one cause, and the same trace.
        raised = _raised if len(letter.trace) <= _LONGEST_KEPT else _raised.__wrapped__
        error = _CLASS.match(letter.error)
        return cls(
            letter.group,
            letter.message.canonical_name if letter.message.api_name else "",
            letter.reason,
            error[0] if error else "",
            *raised(letter.trace),
        )

    @property
    def digest(self) -> str:
        """A short name of it, from which nothing of the letters can be read."""
        return _digest(self.group, self.event, self.reason, self.error, self.raised_at)


@lru_cache(maxsize=256)
def _raised(trace: str) -> tuple[str, str]:
    """Return the file and line where an error was raised, and the function; empty if that is not known."""
    # The last one is where it was raised.
    frame = next(iter(deque(_FRAME.finditer(trace), maxlen=1)), None)
    return (f"{frame[1]}:{frame[2]}", frame[3]) if frame else ("", "")


@lru_cache(maxsize=256)
def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Filter:
    """Chooses dead letters: those that fit every condition.

    Args:
        ids: Ids of dead letters, or of their events.
        api: The name of the event's API.
        listener: The listener's name, or its group's: ``{service_name}-{listener_name}``.
        reason: Why they were put aside.
        older_than: The least seconds since then.
        newer_than: The most seconds since then.
        seen: None but these, each with its place.
        scan: Whether each broker is searched as a whole for them.
        event: The event, with its API.
        error: The class of the error.
        fingerprint: The :attr:`Fingerprint.digest` of their fingerprint.
        until: None that were put aside later, in Unix time.
    """

    ids: tuple[str, ...] = ()
    api: str | None = None
    listener: str | None = None
    reason: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    seen: frozenset[tuple[str, str]] | None = None
    scan: bool = False
    event: str | None = None
    error: str | None = None
    fingerprint: str | None = None
    until: float | None = None

    def fits(self, letter: DeadLetter, now: float) -> bool:
        """Tell whether a letter is meant."""
        age = now - letter.died_at
        return (
            (not self.ids or letter.id in self.ids or letter.message.id in self.ids)
            and (self.api is None or letter.message.api_name == self.api)
            and self.may_be_of(letter.group)
            and (self.reason is None or letter.reason == self.reason)
            and (self.older_than is None or age >= self.older_than)
            and (self.newer_than is None or age <= self.newer_than)
            and (self.seen is None or (letter.place, letter.id) in self.seen)
            and (self.event is None or letter.message.canonical_name == self.event)
            and (self.until is None or letter.died_at <= self.until)
            and self._has_such_an_error(letter)
        )

    def may_be_of(self, group: str) -> bool:
        """Tell whether letters of a group may be meant."""
        return self.listener is None or f"-{group}".endswith(f"-{self.listener}")

    def _has_such_an_error(self, letter: DeadLetter) -> bool:
        if self.error is None and self.fingerprint is None:
            return True
        found = Fingerprint.of(letter)
        is_named = self.error is None or self.error in (found.error, found.error.rpartition(".")[2])
        return is_named and self.fingerprint in (None, found.digest)

    def target(self) -> str:
        """Say in a word which they are: the id, the listener, the event or the API."""
        return (
            self.ids[0] if len(self.ids) == 1 else self.listener or self.event or self.api or "dead letters"
        )

    def in_words(self) -> dict[str, str]:
        """Return the conditions that it has, as the options of a command have them."""
        words = {"ids": " ".join(self.ids), "api": self.api, "listener": self.listener, "reason": self.reason}
        words |= {"event": self.event, "error": self.error, "fingerprint": self.fingerprint}
        ages = {"older_than": self.older_than, "newer_than": self.newer_than}
        words |= {name: None if age is None else f"{age:g}s" for name, age in ages.items()}
        return {name: text for name, text in words.items() if text}
