"""Lines about bad messages: the first few in full, then how many more came, so that nobody fills the log."""

from __future__ import annotations

import asyncio
import logging
import time

#: The most lines about one place within an interval, and the seconds of that interval.
MOST_LINES = 5
INTERVAL = 60.0


class Complaints:
    """Tells the log of bad messages.

    Args:
        logger: Gets the lines.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._places: dict[str, _Place] = {}

    def tell(
        self, place: str, text: str, *arguments: object, level: int = logging.WARNING, message_id: str = ""
    ) -> None:
        """Write a line about a bad message, or count it.

        Args:
            place: The place that it comes from, such as the key of a queue; no text of a message.
            text: The line, with a %s for each argument.
            arguments: The arguments.
            level: The level of the line.
            message_id: The id of the call or event.
        """
        known = self._places.get(place)
        if known is None:
            known = self._places[place] = _Place()
        if known.until <= time.monotonic():
            self._sum_up(place)
        if known.lines < MOST_LINES:
            known.lines += 1
            self._logger.log(
                level, text, *arguments, extra={"message_id": message_id} if message_id else None
            )
            return
        known.left_out += 1
        if known.left_out == 1:
            # Should no further one come, the count is told all the same.
            loop = asyncio.get_running_loop()
            loop.call_later(known.until - time.monotonic(), self._sum_up, place)

    def _sum_up(self, place: str) -> None:
        """Begin an interval, and tell what was left out in the one before."""
        known = self._places[place]
        left_out, known.left_out, known.lines = known.left_out, 0, 0
        known.until = time.monotonic() + INTERVAL
        if left_out:
            text = "bad messages in %s without a line of their own, within %g s: %d"
            self._logger.warning(text, place, INTERVAL, left_out)


class _Place:
    """The lines about one place in the running interval."""

    __slots__ = ("left_out", "lines", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.lines = 0
        self.left_out = 0
