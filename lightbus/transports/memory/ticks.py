"""The ticks of a schedule, as the memory transport gives them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Seconds by which a tick may be ahead of the broker's clock. A later one comes from a host whose clock is
#: wrong; where one is remembered, the clock was set back.
_EARLIEST = 10.0
#: Longer than any lease, in seconds.
_NO_LEASE = 60.0


@dataclass(slots=True)
class Ticks:
    """The last tick that was given out, to whom, and who runs one until when; all times in Unix seconds."""

    tick: float | None = None
    holder: str = ""
    runner: str = ""
    until: float = 0.0

    def claim(
        self, tick: float, holder: str, lease: float, now: float, *, catch_up: bool
    ) -> Literal["ours", "had", "busy", "early"]:
        """Give out a tick; see :meth:`SchemaTransport.claim`."""
        if tick > now + _EARLIEST:
            return "early"
        is_known, last = self.tick is not None, self.tick
        if last is not None and last > now + _EARLIEST:
            last = None
        if self.until > now + _NO_LEASE:
            self.until = now + lease
        if last is not None and tick <= last:
            return "ours" if (tick, holder) == (last, self.holder) else "had"
        self.tick, self.holder = tick, ""
        if not is_known and catch_up:
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
