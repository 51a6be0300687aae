"""The ticks of a schedule, as the memory transport gives them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class Ticks:
    """The last tick that was given out, to whom, and who runs one until when; all times in Unix seconds."""

    tick: float | None = None
    holder: str = ""
    runner: str = ""
    until: float = 0.0

    def claim(
        self, tick: float, holder: str, lease: float, now: float, *, catch_up: bool
    ) -> Literal["ours", "had", "busy"]:
        """Give out a tick; see :meth:`SchemaTransport.claim`."""
        last = self.tick
        if last is not None and tick <= last:
            return "ours" if (tick, holder) == (last, self.holder) else "had"
        self.tick, self.holder = tick, ""
        if last is None and catch_up:
            return "had"
        if lease and self.until > now and self.runner != holder:
            return "busy"
        self.holder = holder
        if lease:
            self.runner, self.until = holder, now + lease
        return "ours"

    def hold(self, holder: str, lease: float, now: float) -> bool:
        """Renew or end the lease of the tick that runs."""
        if self.runner != holder:
            return False
        self.until = now + lease if lease else 0.0
        return True
