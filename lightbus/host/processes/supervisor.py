"""One process that keeps several hosts of the same manifest running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from lightbus.exceptions import ConfigurationError
from lightbus.host.embedded import provide
from lightbus.host.shutdown import EXIT_CONFIG, end_with
from lightbus.manifest.model import Manifest

from .crew import Crew
from .ending import Ending
from .overseer import Overseer

logger = logging.getLogger(__name__)


class Supervisor:
    """Keeps the processes of one manifest running, and ends with them.

    Args:
        manifest: The service that they host; ``processes`` is their number.
        command: The command that starts one.
        folder: The folder in which an embedded server keeps its data.
        overseer: Whoever is told how they are; None for nobody.
        beside: What runs beside them. It is begun once the Redis is there that this process may bring, and
            ends before that is stopped.
    """

    def __init__(
        self,
        manifest: Manifest,
        command: Sequence[str],
        folder: Path,
        overseer: Overseer | None = None,
        beside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._manifest = manifest
        self._folder = folder
        self._beside = beside
        self._crew = Crew(manifest, command, overseer=overseer)
        self._ending = Ending(lambda: self._crew)

    def run(self) -> int:
        """Run the processes until SIGTERM or SIGINT.

        Returns:
            0 if every process ended in good order, 78, 69 or 64 where one could not start, else 1.
        """
        embedded = None
        try:
            embedded = provide(self._manifest, self._folder)
            with self._beside():
                asyncio.run(self._supervise())
                end_with(self._crew.status)
        except ConfigurationError as e:
            logger.error("%s", e)
            return EXIT_CONFIG
        finally:
            if embedded is not None:
                embedded.stop()
        return self._crew.status

    async def _supervise(self) -> None:
        self._ending.heed()
        self._crew.start()
        await self._crew.ended()
        self._ending.close()
