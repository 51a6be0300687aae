"""Dead letters of the whole bus: found, replayed, dropped."""

from __future__ import annotations

from dataclasses import dataclass

from lightbus.transports.events import DeadLetter


@dataclass(frozen=True)
class Filter:
    """Which dead letters are meant; those that fit everything that is said.

    Args:
        ids: Ids of dead letters, or of their events.
        api: The name of the event's API.
        listener: The listener's name, or its group's: ``{service_name}-{listener_name}``.
        reason: Why they were put aside.
        older_than: The least seconds since then.
        newer_than: The most seconds since then.
        seen: None but these, each with its place.
        scan: Whether each broker is searched as a whole for them.
    """

    ids: tuple[str, ...] = ()
    api: str | None = None
    listener: str | None = None
    reason: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    seen: frozenset[tuple[str, str]] | None = None
    scan: bool = False

    def fits(self, letter: DeadLetter, now: float) -> bool:
        """Tell whether a letter is meant."""
        age = now - letter.died_at
        return (
            (not self.ids or letter.id in self.ids or letter.message.id in self.ids)
            and (self.api is None or letter.message.api_name == self.api)
            and (self.listener is None or f"-{letter.group}".endswith(f"-{self.listener}"))
            and (self.reason is None or letter.reason == self.reason)
            and (self.older_than is None or age >= self.older_than)
            and (self.newer_than is None or age <= self.newer_than)
            and (self.seen is None or (letter.place, letter.id) in self.seen)
        )
