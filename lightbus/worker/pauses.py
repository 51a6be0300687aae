"""The pauses of the listeners and schedules of a service, which all its processes heed."""

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
_UNPAUSABLE = "listeners and schedules of this process can't be paused, and work all the same: %s"


class Pauses:
    """Knows which listeners and schedules of this service are paused.

    Args:
        parts: The bus; the broker of its contracts is asked.
        changed: Called with the names of listeners whose pause has begun or ended, and with none where
            something else of pauses has changed.
    """

    def __init__(self, parts: Parts, changed: Callable[[Iterable[str]], None]) -> None:
        self._parts = parts
        self._changed = changed
        self._was_refused = False
        self._has_looked = False
        #: The pauses of schedules that hold, by schedule, and those that have ended.
        self.schedules: Mapping[str, Pause] = {}
        self._ended: Mapping[str, Pause] = {}
        #: The pauses that hold, by listener; of one that was renamed, that of its name before holds as well.
        self.held: Mapping[str, Pause] = {}
        #: The listeners that only the pause of their name before holds.
        self._by_former: set[str] = set()

    def skips(self, schedule: str, due: float) -> bool:
        """Tell whether one of the times of a schedule comes within a pause, so that it never runs for it.

        Args:
            schedule: The schedule.
            due: The time, by the broker's clock. While it is paused, what was due before is not made up for.
        """
        held, ended = self.schedules.get(schedule), self._ended.get(schedule)
        if held is not None and held.holds(due):
            return True
        return ended is not None and ended.since <= due and ended.holds(due)

    async def known(self) -> None:
        """Return once it is known what is paused, though it may be of a second ago."""
        if not self._has_looked:
            await self.look_first()

    async def look_first(self) -> None:
        """Look before anything is taken, and wait for a broker that is away.

        A listener that is paused must not take a single event because its process was started again, nor
        may a schedule run.
        """
        what, obstacles = "the pauses of listeners and schedules can't be read", self._parts.obstacles
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
            declared = self._parts.declarations
            if not (declared.listeners or declared.all_schedules()):
                # A reload may bring a schedule, of which nothing is known then.
                self._has_looked = False
                continue
            try:
                await self._look()
            except LightbusException as e:
                logger.debug("the pauses of listeners stay as they are: %s", e)

    async def _look(self) -> None:
        service = self._parts.identity.service_name
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await self._parts.transports().schema().all_pauses([service])
        except TimeoutError:
            raise TransportUnavailable("the broker does not answer") from None
        except TransportUnavailable:
            raise
        except LightbusException as e:
            level = logging.DEBUG if self._was_refused else logging.WARNING
            logger.log(level, _UNPAUSABLE, e)
            self._was_refused = self._has_looked = True
            return
        self._was_refused, self._has_looked = False, True
        before, self.held = self.held, self._with_former(_by_name(found.listeners))
        paused, self.schedules = self.schedules, _by_name(found.schedules)
        self._ended = _by_name(found.ended)
        self._tell_schedules(paused)
        news = before.keys() ^ self.held.keys()
        if news or before != self.held or paused != self.schedules:
            self._changed(sorted(news))

    def _tell_schedules(self, before: Mapping[str, Pause]) -> None:
        """Log which schedules of this process are paused, or are not any more."""
        declared = self._parts.declarations
        for name in declared.all_schedules() if "tasks" in declared.features else ():
            pause = self.schedules.get(name)
            if pause is not None and name not in before:
                logger.warning("the schedule %s is %s; it only runs by hand", name, pause.in_words())
            elif pause is None and name in before:
                logger.info("the schedule %s is not paused any more", name)

    def _with_former(self, found: Mapping[str, Pause]) -> dict[str, Pause]:
        """Add the pauses of listeners that were renamed, as long as they are kept under the name before."""
        held, self._by_former = dict(found), set()
        for listener in self._parts.declarations.listeners.values():
            former = found.get(listener.renamed_from or "")
            if former is not None and not former.moved_to and listener.name not in found:
                held[listener.name] = former
                self._by_former.add(listener.name)
        return held


def _by_name(pauses: Mapping[tuple[str, str], Pause]) -> dict[str, Pause]:
    return {name: pause for (_, name), pause in pauses.items()}
