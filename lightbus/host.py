"""A manifest to a running process: import, check, open, run, drain, close."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .api import where
from .checks import broker_problems, client_for
from .client import BusClient
from .declarations import Feature
from .embedded import EmbeddedServer, provide
from .exceptions import ConfigurationError, LightbusException, TransportUnavailable
from .loading import Loader
from .manifest.model import Manifest
from .manifest.problems import Problems
from .path import BusPath
from .portal import new_event_loop
from .reload import Reloader
from .transports.base import Transport
from .worker import Worker

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78


class Host:
    """Runs one service in this process.

    Args:
        manifest: What to host.
        features: What to do, if not what the manifest says.
        fail_fast: Whether to end with status 69 where a broker does not answer at the start.
        folder: Where modules are looked for and the embedded server keeps its data.
        reread: Reads the manifest again, for SIGHUP.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        features: tuple[Feature, ...] | None = None,
        fail_fast: bool = False,
        folder: Path | None = None,
        reread: Callable[[], Manifest] | None = None,
    ) -> None:
        self.manifest = manifest
        self._fail_fast = fail_fast
        self._folder = folder or Path.cwd()
        self._embedded: EmbeddedServer | None = None
        self._reread = reread
        self._reloader: Reloader | None = None
        self._reloads: set[asyncio.Task[bool]] = set()
        self._stop: asyncio.Event | None = None
        self._status = EXIT_OK
        self._left_behind = 0
        self._impatient = False
        self.client = self._make_client(features)
        self.bus = BusPath(self.client)

    def run(self) -> int:
        """Host until SIGTERM or SIGINT.

        Returns:
            The exit status: 0 after a shutdown that was asked for, 78 where the configuration is wrong, 69
            where a broker stays away and ``fail_fast`` is on, 1 after a listener with ``on_error: shutdown``.
        """
        try:
            self._load()
            self._embedded = provide(self.manifest, self._folder)
            loop_factory = asyncio.new_event_loop if self.manifest.event_loop == "asyncio" else new_event_loop
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(self._serve())
        except ConfigurationError as e:
            for line in str(e).splitlines():
                logger.error("%s", line)
            return EXIT_CONFIG
        except TransportUnavailable as e:
            logger.error("%s", e)
            return EXIT_UNAVAILABLE
        finally:
            if self._embedded is not None:
                self._embedded.stop()
        if self._left_behind:
            # Threads that never return would keep the interpreter from ending.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(self._status)
        return self._status

    def shut_down(self, reason: str, status: int = EXIT_FAILED) -> None:
        """Finish what runs and end.

        Args:
            reason: For the log.
            status: The exit status.
        """
        logger.error("shutting down: %s", reason)
        self._status = status
        if self._stop is not None:
            self._stop.set()

    def _make_client(self, features: tuple[Feature, ...] | None) -> BusClient:
        client = client_for(self.manifest)
        client.set_features(features or self.manifest.features)
        client.shutdown_handler = self.shut_down
        return client

    # Before anything is taken

    def _load(self) -> None:
        """Import what the manifest names, and check that it fits together."""
        loader = Loader(self.manifest, self.client, self._folder)
        self._code = loader.load(self.bus)
        for problem in loader.problems.found:
            logger.warning("%s", problem)
        client = self.client
        declared = (client.listeners, client.recurring, client.schedules, client.background)
        if not (self._code.served or any(declared)):
            hooks = [m for m in self._code.modules if hasattr(m, "before_server_start")]
            if not hooks:
                names = ", ".join(self.manifest.modules)
                raise ConfigurationError(
                    f"there is nothing to host: {names} defines no API, listener, schedule or background "
                    "task; derive a class from lightbus.Api, or name another module with --bus"
                )

    # The life of the process

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.client.home = asyncio.get_running_loop()
        with self._signals():
            await self._run_start_functions()
            worker = Worker(self.client, self._code.served)
            self._announce(worker)
            if not await self._until_stopped(self._open(worker), self._stop):
                await self._close()
                return
            try:
                async with asyncio.TaskGroup() as group:
                    worker.start(group)
                    if self._reread is not None:
                        self._reloader = Reloader(
                            self.manifest, self._reread, self.client, worker, self._folder
                        )
                    logger.info("ready: %s runs as %s", self.client.service_name, self.client.process_name)
                    await self._stop.wait()
                    await self._drain(worker)
            finally:
                await self._close()

    async def _run_start_functions(self) -> None:
        """Call ``before_server_start(bus)`` of each module, in which listeners are set up."""
        for module in self._code.modules:
            function = getattr(module, "before_server_start", None)
            if function is None:
                continue
            try:
                await self.client.pool.invoke(function, self.bus)
            except LightbusException:
                raise
            except Exception as e:
                logger.error("%s raised:", where(function), exc_info=e)
                raise ConfigurationError(f"before_server_start() of {module.__name__} raised {e!r}") from e

    async def _open(self, worker: Worker) -> None:
        """Connect, publish contracts, join groups: from here on, nothing that is sent is missed."""
        transports = self.client.transports()
        for transport in transports.all():
            await self._open_one(transport)
        await self._check_brokers()
        hooks = self.client.hooks
        await worker.ownership.take()
        await worker.join()
        await worker.publish_contracts()
        await hooks.run(hooks.before_worker_start, client=self.client)

    async def _check_brokers(self) -> None:
        """Tell what the brokers lack; without what nothing can work, the host does not start."""
        problems = Problems(await broker_problems(self.manifest, self.client, "warning"))
        for problem in problems.ordered("warning"):
            logger.warning("%s", problem)
        problems.raise_errors()

    async def _open_one(self, transport: Transport) -> None:
        while True:
            try:
                await transport.open()
            except TransportUnavailable:
                if self._fail_fast:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def _until_stopped(self, coroutine: Coroutine[Any, Any, None], stopped: asyncio.Event) -> bool:
        """Await something, unless the host is to stop first."""
        task = asyncio.ensure_future(coroutine)
        stop = asyncio.ensure_future(stopped.wait())
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return False
        task.result()
        return True

    async def _drain(self, worker: Worker) -> None:
        timeout = 0.0 if self._impatient else self.manifest.bus.drain_timeout
        logger.info("stopping: no more is taken; what runs has %g s to finish", timeout)
        self._left_behind = await worker.drain(timeout)

    async def _close(self) -> None:
        hooks = self.client.hooks
        if hooks.after_worker_stopped:
            try:
                await hooks.run(hooks.after_worker_stopped, client=self.client)
            except Exception:
                logger.exception("a callback of after_worker_stopped failed")
        await self.client.close_async()
        logger.info("stopped")

    def _announce(self, worker: Worker) -> None:
        client = self.client
        transports = client.transports()
        transports.schema()
        for name in worker.served:
            transports.rpc(name)
            transports.event(name)
        for event in worker.events:
            for api, _ in event.listener.events:
                transports.event(api)
        logger.info("plugins: none")
        for kind, name, address in transports.made():
            logger.info("%s transport: %s at %s", kind, name, address)
        for name in client.registry.names():
            if name not in self._code.served:
                owner = self.manifest.api(name).owner
                logger.info("the API %s is owned by %s: known here, but not served", name, owner)
        logger.info("APIs in the registry: %s", ", ".join(client.registry.names()) or "none")
        for event in worker.events:
            listener = event.listener
            names = ", ".join(f"{api}.{name}" for api, name in listener.events)
            logger.info("listener %s: %s (concurrency %d)", listener.name, names, listener.concurrency)
        for schedule in client.schedules.values() if "tasks" in client.features else ():
            times = schedule.cron or f"every {schedule.every:g} s"
            logger.info("schedule %s: %s (%s)", schedule.name, times, schedule.scope)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGTERM or SIGINT ends the host in good order; the second skips the wait."""
        loop = asyncio.get_running_loop()
        stop = self._stop

        def on_signal(name: str) -> None:
            if stop is not None and stop.is_set():
                logger.warning("%s again: what still runs is left behind", name)
                logging.shutdown()
                os._exit(EXIT_FAILED)
            logger.info("%s received", name)
            if stop is not None:
                stop.set()

        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, on_signal, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._on_hang_up)
        try:
            yield
        finally:
            for number in (*numbers, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _on_hang_up(self) -> None:
        """SIGHUP: read the manifest again."""
        stopping = self._stop is not None and self._stop.is_set()
        if self._reloader is None or stopping:
            logger.warning(
                "SIGHUP received, and not heeded: the host is %s", "stopping" if stopping else "starting"
            )
            return
        logger.info("SIGHUP received: reading the manifest again")
        task = asyncio.get_running_loop().create_task(self._reloader.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
