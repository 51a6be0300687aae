"""The signals of a supervisor: it ends with its processes, and hands on what is meant for them."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from lightbus.host.shutdown import ENDING, heed_no_more

from .crew import Crew
from .signals import LoopSignals, Wishes, terminal_is_closed

logger = logging.getLogger(__name__)


class Ending:
    """The first SIGTERM or SIGINT ends the processes in good order, a second one at once.

    Args:
        crew: Returns the processes that run at present; None where there are none.
    """

    def __init__(self, crew: Callable[[], Crew | None]) -> None:
        self._crew = crew
        self._signals = LoopSignals(self._heard)
        self._wishes = Wishes()
        #: Set when the end has begun.
        self.begun = asyncio.Event()

    def heed(self) -> None:
        """Heed the signals from now on, on the running event loop."""
        self._signals.heed(*ENDING, signal.SIGHUP)

    def close(self) -> None:
        """Heed no more signals: this process ends already."""
        heed_no_more()
        self._signals.close()
        logger.info("stopped")

    def _heard(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            self._on_hang_up()
        else:
            self._on_signal(number.name)

    def _on_hang_up(self) -> None:
        if terminal_is_closed():
            self._on_signal("SIGHUP of a closed terminal")
            return
        crew = self._crew()
        if crew is not None:
            crew.reload()

    def _on_signal(self, name: str) -> None:
        crew, wish = self._crew(), self._wishes.meaning()
        if wish == "in order":
            logger.info("%s received", name)
            self.begun.set()
            if crew is not None:
                crew.end()
        elif wish == "at once":
            logger.warning("%s again: what still runs is left behind", name)
            if crew is not None:
                crew.end_at_once()
