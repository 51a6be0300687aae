"""The card of this process, which it renews on the bus while it lives."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from lightbus.declared.metrics import Metrics
from lightbus.declared.settings import Identity
from lightbus.exceptions import LightbusException, TransportUnavailable
from lightbus.runtime.counting import Labels, Window
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.tasks import Kept
from lightbus.transports.cards import Card, write_card

from .connections import Connections

logger = logging.getLogger(__name__)

#: Seconds for which a card is seen, and seconds after which it is renewed.
LASTS, EVERY = 30.0, 10.0
#: Seconds that a process must have lived to get a card if it only uses the bus: short scripts need none.
_WORTH_A_CARD = 1.0
#: Seconds until it is tried again where the broker has refused the card for good.
_REFUSED_AGAIN = 60.0
#: Seconds that the broker has to take it down at the end.
_PATIENCE = 1.0
#: Seconds for which calls and events count, and seconds between two looks at how many there were.
_HOUR, _STEP = 3_600.0, 300.0
_MOST_OBSTACLES = 20

Fill = Callable[[Card], Card]


class OwnCard:
    """Shows the card of this process, as long as an event loop of the bus turns.

    Args:
        connections: The transports of the bus.
        metrics: Know what was called and fired.
        obstacles: Know what is in the way.
    """

    def __init__(self, connections: Connections, metrics: Metrics, obstacles: Obstacles) -> None:
        self._connections = connections
        self._obstacles = obstacles
        self._started_at = time.time()
        #: The process in which the bus was made, and the one that shows the card.
        self._born_in = self._pid = os.getpid()
        #: The versions of the application and of Lightbus, once they were asked for.
        self._versions: tuple[str | None, str] | None = None
        self._calls = Window(metrics.rpc_calls, _HOUR, _STEP)
        self._fires = Window(metrics.events_fired, _HOUR, _STEP)
        self._fill: Fill | None = None
        self._kept: Kept | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Set when something has changed.
        self._news = asyncio.Event()
        #: Whether it may be seen at present.
        self._is_shown = False
        self._was_refused = False
        #: As it was shown last, or should have been.
        self.latest: Card | None = None

    def begin(self, fill: Fill | None = None) -> None:
        """Show it from now on, on the running event loop; where it is shown already, show it again now.

        Args:
            fill: Adds what a host knows of itself; left out, the process only uses the bus.
        """
        loop = asyncio.get_running_loop()
        self._fill = fill or self._fill
        if self._kept is not None and self._loop is loop and not self._kept.is_over:
            self.renew()
            return
        is_ours = self._loop is not None and not self._loop.is_closed() and os.getpid() == self._pid
        if self._kept is not None and is_ours and fill is None:
            return  # Another event loop of this process shows it.
        self._loop, self._pid = loop, os.getpid()
        self._news = asyncio.Event()
        lost = "this process is not seen by lightbus status"
        self._kept = Kept(self._keep, "lightbus card", lost, self._obstacles).start()

    def renew(self) -> None:
        """Show it again now, since something has changed."""
        self._news.set()

    async def end(self) -> None:
        """Take it down, if this event loop shows it."""
        if self._kept is None or self._loop is not asyncio.get_running_loop():
            return
        await self._kept.stop()
        self._kept = None
        if self._is_shown:
            self._is_shown = False
            with suppress(TimeoutError, LightbusException):  # Else it ends by itself.
                async with asyncio.timeout(_PATIENCE):
                    await self._connections.transports().schema().take_card_down(self._identity)

    def card(self) -> Card:
        """Return what there is to say now."""
        wiring, who = self._connections.wiring, self._identity
        if self._versions is None:
            self._versions = wiring.find_version(), _installed()
        now = time.monotonic()
        card = Card(
            service=who.service_name,
            process=who.process_name,
            version=self._versions[0],
            lightbus=self._versions[1],
            python=platform.python_version(),
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self._started_at,
            obstacles=tuple(self._obstacles)[:_MOST_OBSTACLES],
            calls=_numbers(self._calls, now),
            fires=_numbers(self._fires, now),
        )
        return self._fill(card) if self._fill is not None else card

    @property
    def _identity(self) -> Identity:
        who = self._connections.wiring.identity
        if os.getpid() == self._born_in or str(os.getpid()) in who.process_name:
            return who
        # A child by fork() has the name of its parent.
        return Identity(who.service_name, f"{who.process_name}-{os.getpid()}")

    async def _keep(self) -> None:
        """Show it again and again; a broker that is away is no news here."""
        news = self._news
        if self._fill is None:
            await asyncio.sleep(_WORTH_A_CARD)
        while True:
            news.clear()
            pause = await self._show()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await news.wait()

    async def _show(self) -> float:
        """Show it now; return the seconds until it is shown again."""
        # Not only afterwards: if the process ends meanwhile, the broker may have it all the same.
        before, self._is_shown = self._is_shown, True
        try:
            self.latest = self.card()
            blob = write_card(self.latest)
            async with asyncio.timeout(EVERY):
                schema = self._connections.transports().schema()
                await schema.show_card(self._identity, blob, LASTS)
        except (TimeoutError, TransportUnavailable) as e:
            logger.debug("the card of this process was not shown: %s", e or "the broker does not answer")
            return EVERY
        except LightbusException as e:
            level = logging.DEBUG if self._was_refused else logging.WARNING
            logger.log(level, "this process is not seen by lightbus status, and works all the same: %s", e)
            self._is_shown, self._was_refused = before, True
            return _REFUSED_AGAIN
        self._was_refused = False
        return EVERY


def _installed() -> str:
    """Return the version of Lightbus."""
    # Not at the top: it takes longer than all else here, and only a card needs it.
    from importlib import metadata

    try:
        return metadata.version("lightbus")
    except metadata.PackageNotFoundError:
        return ""


def _numbers(window: Window, now: float) -> dict[str, int]:
    """Return how many of each name there were, by ``api.name``."""
    return {_name(labels): counted.number for labels, counted in window.look(now).items()}


def _name(labels: Labels) -> str:
    return ".".join(labels)
