"""What was asked of any console to be done to many dead letters: this one does it, too."""

from __future__ import annotations

import asyncio
import logging
import secrets

from lightbus.bus.client import BusClient
from lightbus.exceptions import LightbusException
from lightbus.insight.dead_letters import errands
from lightbus.manifest.model import Manifest
from lightbus.runtime.cancellation import end
from lightbus.runtime.tasks import begin

logger = logging.getLogger(__name__)

#: Seconds after which it is tried again, where another console is at work or something was in the way.
_AGAIN = 5.0


class Caretaker:
    """Carries errands out, one after the other, for as long as there are any.

    Args:
        client: The bus.
        manifest: Says whether anybody may do such things by this console; if not, it leaves them to others.
    """

    def __init__(self, client: BusClient, manifest: Manifest) -> None:
        self._client = client
        self._api_names = manifest.all_apis
        permitted = {*manifest.web.allow, *(each for role in manifest.web.roles.values() for each in role)}
        self._may = bool(permitted & {"replay", "drop"})
        self._holder = f"console-{secrets.token_hex(6)}"
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """See whether there is something to be done, and do it."""
        if self._may and (self._task is None or self._task.done()):
            self._task = begin(self._work(), "lightbus console errands")

    async def stop(self) -> None:
        """Do no more; another console goes on, or this one when it is started again."""
        if self._task is not None:
            end(self._task)
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        trouble = ""
        while True:
            try:
                found = await errands.read(self._client)
                if not found:
                    return
                done = await errands.carry_out(self._client, self._api_names, found[0], self._holder)
                trouble = ""
            except LightbusException as e:
                done = False
                if str(e) != trouble:
                    trouble = str(e)
                    logger.warning("what is to be done to dead letters waits: %s", trouble)
            if not done:
                await asyncio.sleep(_AGAIN)
