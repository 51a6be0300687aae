"""The pauses of the listeners of a service, which all its processes heed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from lightbus.bus.parts import Parts
from lightbus.declared.listener import Listener
from lightbus.exceptions import LightbusException, TransportUnavailable
from lightbus.runtime.retrying import Retrying
from lightbus.transports.cards import Pause

logger = logging.getLogger(__name__)

#: Seconds between two looks.
_EVERY = 1.0
#: Seconds that the broker has to answer; then it is asked again.
_PATIENCE = 5.0
#: Seconds until it is asked again where this user may not ask.
_REFUSED_AGAIN = 60.0


class Pauses:
    """Knows which listeners of this service are paused.

    Args:
        parts: The bus; the broker of its contracts is asked.
        changed: Called with the names of listeners whose pause has begun or ended.
    """

    def __init__(self, parts: Parts, changed: Callable[[Iterable[str]], None]) -> None:
        self._parts = parts
        self._changed = changed
        self._was_refused = False
        #: The pauses that hold, by listener; of one that was renamed, that of its name before holds as well.
        self.held: Mapping[str, Pause] = {}
        #: The listeners that only the pause of their name before holds.
        self._by_former: set[str] = set()

    async def look_first(self) -> None:
        """Look before anything is taken, and wait for a broker that is away.

        A listener that is paused must not take a single event because its process was started again.
        """
        what, obstacles = "the pauses of listeners can't be read", self._parts.obstacles
        asking = Retrying(logger, what, level=logging.ERROR, obstacles=obstacles)
        await asking.until_done(self._look, TransportUnavailable)

    async def succeed(self, listeners: Iterable[Listener]) -> None:
        """Give listeners the pauses of their names before, whose groups they have taken over.

        The former name keeps its pause, with a mark: processes that still have the listener under that name
        must not begin a group of their own.
        """
        schema, service = self._parts.transports().schema(), self._parts.identity.service_name
        for listener in listeners:
            name, former = listener.name, listener.renamed_from or ""
            try:
                # Somebody may change it, or end it, at any time: then it is looked at anew.
                while name in self._by_former:
                    pause = self.held[name]
                    moved = replace(pause, moved_to=f"{service}-{name}")
                    async with asyncio.timeout(_PATIENCE):
                        is_done = await schema.change_pauses(
                            service, {name: (None, pause), former: (pause, moved)}
                        )
                    if is_done:
                        self._by_former.discard(name)
                    else:
                        await self._look()
            except (TimeoutError, LightbusException) as e:
                reason = str(e) or "no answer in time"
                logger.warning(
                    "the listener %s is paused only as long as it says renamed_from: %s, since its own pause "
                    "can't be written: %s",
                    *(name, former, reason),
                )

    async def keep(self) -> None:
        """Look again for ever."""
        while True:
            await asyncio.sleep(_REFUSED_AGAIN if self._was_refused else _EVERY)
            try:
                await self._look()
            except LightbusException as e:
                logger.debug("the pauses of listeners stay as they are: %s", e)

    async def _look(self) -> None:
        service = self._parts.identity.service_name
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await self._parts.transports().schema().pauses([service])
        except TimeoutError:
            raise TransportUnavailable("the broker does not answer") from None
        except TransportUnavailable:
            raise
        except LightbusException as e:
            level = logging.DEBUG if self._was_refused else logging.WARNING
            logger.log(level, "listeners of this process can't be paused, and work all the same: %s", e)
            self._was_refused = True
            return
        self._was_refused = False
        before, self.held = self.held, self._with_former({name: each for (_, name), each in found.items()})
        news = before.keys() ^ self.held.keys()
        if news:
            self._changed(sorted(news))
        elif before != self.held:
            self._changed(())

    def _with_former(self, found: Mapping[str, Pause]) -> dict[str, Pause]:
        """Add the pauses of listeners that were renamed, as long as they are kept under the name before."""
        held, self._by_former = dict(found), set()
        for listener in self._parts.declarations.listeners.values():
            former = found.get(listener.renamed_from or "")
            if former is not None and not former.moved_to and listener.name not in found:
                held[listener.name] = former
                self._by_former.add(listener.name)
        return held
