"""A manifest to a running process: the life of its service, with what a process of its own adds to it."""

from __future__ import annotations

import asyncio
import logging
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

from lightbus.bus.path import BusPath
from lightbus.declared.settings import Feature
from lightbus.exceptions import ConfigurationError, TransportUnavailable, text_of
from lightbus.manifest.model import Manifest
from lightbus.runtime.portal import new_event_loop
from lightbus.runtime.tasks import Kept
from lightbus.runtime.threads.native import replaced_by

from . import logs
from .checks import client_for
from .embedded import EmbeddedServer, provide
from .life import Life
from .processes.signals import terminal_is_closed
from .reload import Reloader
from .shutdown import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, Shutdown

logger = logging.getLogger(__name__)

#: A thing that a host begins or has done. A reload is over whether or not it was applied.
Moment = Literal["ready", "reloading", "reloaded", "stopping"]

#: Seconds between two looks at whether the log still has its way out.
_LOG_KEPT = 5.0


class Host:
    """Runs one service in this process.

    Args:
        manifest: The service to host.
        features: The features to run, if not those of the manifest.
        fail_fast: Whether to end with status 69 where a broker does not answer at the start.
        reread: Reads the manifest again, for SIGHUP.
        arguments: The arguments of the command line, for plugins.
        number: Which of a supervisor's processes this is, from 1; None if it stands alone.
        only_relays: Whether it sends the events of outboxes and does nothing else.
        beside: What runs beside it. It is begun once the Redis is there that this process may bring, and ends
            before that is stopped.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        features: tuple[Feature, ...] | None = None,
        fail_fast: bool = False,
        reread: Callable[[], Manifest] | None = None,
        arguments: Namespace | None = None,
        number: int | None = None,
        only_relays: bool = False,
        beside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.manifest = manifest
        self._beside = beside
        self._folder = Path.cwd()
        #: Whether it is not one of several processes under a supervisor.
        self.is_alone = number is None
        self._only_relays = only_relays
        self._embedded: EmbeddedServer | None = None
        self._shutdown = Shutdown(
            manifest.bus.drain_timeout, self._abandon, self._on_hang_up, supervised=number is not None
        )
        self._reread = reread
        self._reloader: Reloader | None = None
        self._reloads: list[Kept] = []
        self._status = EXIT_OK
        self.client = client_for(manifest)
        self.client.parts.shutdown_handler = self.shut_down
        self.bus = BusPath(self.client)
        #: Called with each such moment by the event loop's thread; none may wait.
        self.observers: list[Callable[[Moment], None]] = []
        #: How far its service is.
        self.life = Life(
            manifest,
            self.bus,
            self._folder,
            features=features,
            arguments=arguments,
            fail_fast=fail_fast,
            is_first=number in (None, 1),
            only_relays=only_relays,
        )

    def run(self, *, for_good: bool = False) -> int:
        """Host until SIGTERM or SIGINT.

        Args:
            for_good: Whether the process ends with the host. Later signals are ignored then, instead of doing
                again what they did before.

        Returns:
            The exit status: 0 after a shutdown that was asked for, 78 where the configuration is wrong, 69
            where a broker stays away and ``fail_fast`` is on, 1 after a listener with ``on_error: shutdown``
            or a background task with ``on_failure="shutdown"``.
        """
        with self._shutdown:
            try:
                with self._shutdown.interruptible():
                    status = self._run()
            except KeyboardInterrupt:
                logger.info("stopped before it was ready")
                status = EXIT_OK
            except ConfigurationError as e:
                for line in str(e).splitlines():
                    logger.error("%s", line)
                status = EXIT_CONFIG
            except TransportUnavailable as e:
                logger.error("%s", e)
                status = EXIT_UNAVAILABLE
            except Exception:
                logger.exception("the host failed; please report this")
                status = EXIT_FAILED
            if self._embedded is not None:
                self._embedded.stop()
            if self.client.parts.pool.running:
                # Threads that never return would keep the interpreter from ending.
                logger.warning("functions that still run in threads are left behind")
                self._shutdown.end_now(status)
            if for_good:
                self._shutdown.heed_no_more()
        return status

    def _run(self) -> int:
        try:
            self.life.load()
        finally:
            logs.keep()
            # Another failure may follow from that.
            self._refuse_greenlets()
        if self.is_alone:  # else its supervisor does, and says so
            self._embedded = provide(self.manifest, self._folder)
        with self._beside():
            self._run_loop()
        return self._status

    def _run_loop(self) -> None:
        loop_factory = asyncio.new_event_loop if self.manifest.event_loop == "asyncio" else new_event_loop
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            serving = runner.get_loop().create_task(self._serve(), name="lightbus host")
            while not serving.done():
                try:
                    runner.run(_until_done(serving))
                except (SystemExit, KeyboardInterrupt) as e:
                    if self.life.phase == "starting":
                        raise
                    # By a task that user code has begun. It stops the loop, which has to end in good order.
                    self.shut_down(f"a task of user code raised {text_of(e)}")
            serving.result()

    def _abandon(self) -> None:
        if self._embedded is not None:
            self._embedded.terminate()

    def shut_down(self, reason: str) -> None:
        """Finish what runs and end with status 1; the reason is for the log."""
        logger.error("shutting down: %s", reason)
        self._status = EXIT_FAILED
        self._shutdown.request()

    def _refuse_greenlets(self) -> None:
        if (name := replaced_by()) is not None:
            modules = ", ".join(self.manifest.modules)
            raise ConfigurationError(
                f"{name} has replaced threads, which a host needs: {modules}, or what it imports, must not "
                "call monkey_patch() or patch_all() in `lightbus run`"
            )

    async def _serve(self) -> None:
        self._shutdown.attach()
        self._keep_log()
        try:
            await self.life.live(self._until_stopped, self.manifest.bus.drain_timeout, self._on_ready)
        finally:
            self._shutdown.detach()

    async def _until_stopped(self) -> None:
        await self._shutdown.wait()
        self._tell("stopping")

    def _tell(self, moment: Moment) -> None:
        for observer in self.observers:
            observer(moment)

    def _on_ready(self) -> None:
        self._tell("ready")
        if self._reread is not None and self.life.worker is not None:
            given = self.manifest, self._reread, self.client, self.life.worker, self._folder
            self._reloader = Reloader(*given, only_relays=self._only_relays)

    def _keep_log(self) -> None:
        """Keep the log going where a handler configures logging, as one does that sets up Django late."""
        logs.keep()
        asyncio.get_running_loop().call_later(_LOG_KEPT, self._keep_log)

    def _on_hang_up(self) -> None:
        """SIGHUP: read the manifest again, or end where it means that the terminal was closed."""
        if terminal_is_closed():
            self._shutdown.request("the terminal was closed")
            return
        if self._reloader is None or self._shutdown.is_requested:
            state = "stopping" if self._shutdown.is_requested else "starting"
            logger.warning("SIGHUP received and ignored: the host is %s", state)
            return
        logger.info("SIGHUP received: reading the manifest again")
        lost = "the manifest is not read again"
        self._reloads = [reload for reload in self._reloads if not reload.is_over]
        self._tell("reloading")
        reload = Kept(self._reloader.reload, "lightbus reload", lost, self.client.parts.obstacles).start()
        reload.over.add_done_callback(lambda _: self._tell("reloaded"))
        self._reloads.append(reload)


async def _until_done(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
