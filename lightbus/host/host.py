"""A manifest to a running process: import, check, open, run, drain, close."""

from __future__ import annotations

import asyncio
import logging
import signal
from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

from lightbus.bus.declarations import Feature
from lightbus.bus.path import BusPath
from lightbus.exceptions import ConfigurationError, TransportError, TransportUnavailable, text_of
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Problems
from lightbus.runtime.cancellation import end, own
from lightbus.runtime.portal import new_event_loop
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import begin
from lightbus.runtime.threads import replaced_by
from lightbus.worker import Worker

from . import logs
from .checks import broker_problems, client_for
from .embedded import EmbeddedServer, provide
from .loading import Loader
from .reload import Reloader
from .shutdown import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, Shutdown
from .user_code import run_located, run_start_functions
from .uses import uses_of

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether the log still has its way out.
_LOG_KEPT = 5.0


class Host:
    """Runs one service in this process.

    Args:
        manifest: What to host.
        features: What to do, if not what the manifest says.
        fail_fast: Whether to end with status 69 where a broker does not answer at the start.
        reread: Reads the manifest again, for SIGHUP.
        arguments: What the command line said, for plugins.
        supervised: Whether a supervisor has started this process.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        features: tuple[Feature, ...] | None = None,
        fail_fast: bool = False,
        reread: Callable[[], Manifest] | None = None,
        arguments: Namespace | None = None,
        supervised: bool = False,
    ) -> None:
        self.manifest = manifest
        self._fail_fast = fail_fast
        self._folder = Path.cwd()
        self._features = features
        self._arguments = arguments
        self._embedded: EmbeddedServer | None = None
        self._shutdown = Shutdown(manifest.bus.drain_timeout, self._abandon, supervised=supervised)
        self._reread = reread
        self._reloader: Reloader | None = None
        self._reloads: set[asyncio.Task[bool]] = set()
        self._status = EXIT_OK
        self._announced: set[str] = set()
        #: What it is at: its APIs and listeners work while it is ``ready``.
        self.phase: Literal["starting", "ready", "stopping"] = "starting"
        #: Waits for the brokers before it starts.
        self.opening = Retrying(logger, "the service can't start yet")
        #: Its consumers, once there are any.
        self.worker: Worker | None = None
        self.client = client_for(manifest)
        self.client.set_features(features or manifest.features)
        self.client.shutdown_handler = self.shut_down
        self.bus = BusPath(self.client)

    def run(self) -> int:
        """Host until SIGTERM or SIGINT.

        Returns:
            The exit status: 0 after a shutdown that was asked for, 78 where the configuration is wrong, 69
            where a broker stays away and ``fail_fast`` is on, 1 after a listener with ``on_error: shutdown``
            or a background task with ``on_failure="shutdown"``.
        """
        with self._shutdown:
            try:
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
            if self.client.pool.running:
                # Threads that never return would keep the interpreter from ending.
                logger.warning("functions that still run in threads are left behind")
                self._shutdown.end_now(status)
        return status

    def _run(self) -> int:
        self._load()
        self._embedded = provide(self.manifest, self._folder)
        loop_factory = asyncio.new_event_loop if self.manifest.event_loop == "asyncio" else new_event_loop
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            serving = runner.get_loop().create_task(self._serve(), name="lightbus host")
            while not serving.done():
                try:
                    runner.run(_until_done(serving))
                except (SystemExit, KeyboardInterrupt) as e:
                    if self.phase == "starting":
                        raise
                    # By a task that user code has begun. It stops the loop, which has to end in good order.
                    self.shut_down(f"a task of user code raised {text_of(e)}")
            serving.result()
        return self._status

    def _abandon(self) -> None:
        if self._embedded is not None:
            self._embedded.terminate()

    def shut_down(self, reason: str) -> None:
        """Finish what runs and end with status 1; the reason is for the log."""
        logger.error("shutting down: %s", reason)
        self._status = EXIT_FAILED
        self._shutdown.request()

    # Before anything is taken

    def _load(self) -> None:
        """Import what the manifest names, and check that it fits together."""
        self._loader = Loader(self.manifest, self.client, self._folder)
        try:
            self._modules = self._loader.load(self.bus)
        finally:
            logs.keep()
            # Whatever else has failed, it may be for that.
            self._refuse_greenlets()
        for problem in self._loader.problems.found:
            logger.warning("%s", problem)
        if self._features or self.manifest.origin("features") is not None:
            # Flags and manifest are stronger than what a module says.
            self.client.set_features(self._features or self.manifest.features)
        starts = any(hasattr(module, "before_server_start") for module in self._modules)
        self._refuse_idleness(may_come=starts or bool(self.client.hooks.before_worker_start))

    def _refuse_greenlets(self) -> None:
        if (name := replaced_by()) is not None:
            modules = ", ".join(self.manifest.modules)
            raise ConfigurationError(
                f"{name} has replaced threads, which a host needs: {modules}, or what it imports, must not "
                "call monkey_patch() or patch_all() in `lightbus run`"
            )

    # The life of the process

    async def _serve(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hang_up)
        self._shutdown.attach()
        self._keep_log()
        self.client.home = asyncio.get_running_loop()
        worker = self.worker = Worker(self.client)
        try:
            if not await self._unless_stopped(self._start(worker)):
                return
            worker.start()
            if self._reread is not None:
                self._reloader = Reloader(self.manifest, self._reread, self.client, worker, self._folder)
            self.phase = "ready"
            logger.info("ready: %s runs as %s", self.client.service_name, self.client.process_name)
            await self._shutdown.wait()
            self.phase = "stopping"
            timeout = self.manifest.bus.drain_timeout
            logger.info("stopping: no more is taken; what runs has %g s to finish", timeout)
            await worker.drain(timeout)
        except Exception as e:
            await self.client.hooks.report(e)
            raise
        finally:
            await self._close()
            self._shutdown.detach()

    async def _start(self, worker: Worker) -> None:
        """Everything before ready: from here on, nothing that is sent is missed."""
        hooks = self.client.hooks
        if self._arguments is not None:
            await run_located(hooks, hooks.receive_args, "receive_args() of a plugin", args=self._arguments)
        await run_start_functions(self._modules, self.bus)
        self._prepare(worker)
        self._refuse_idleness(may_come=bool(self.client.hooks.before_worker_start))
        for transport in self.client.transports().all():
            await self._insist(transport.open)
        await self._check_brokers()
        await worker.sign_on()
        if hooks.before_worker_start:
            what = "the callback of before_worker_start"
            await run_located(hooks, hooks.before_worker_start, what, client=self.client)
            self._prepare(worker)
            self._refuse_idleness(may_come=False)
            await worker.sign_on()

    async def _check_brokers(self) -> None:
        """Tell what the brokers lack; without what nothing can work, the host does not start."""
        problems = Problems(await broker_problems(self.manifest, self.client, "warning"))
        for problem in problems.ordered("warning", "note"):
            logger.log(logging.INFO if problem.severity == "note" else logging.WARNING, "%s", problem)
        problems.raise_errors()
        for kind, transport, api_names in self.client.transports().in_use():
            uses = uses_of(self.manifest, self.client, kind, api_names)
            # Whether it calls the APIs of others that it knows, nobody has said.
            await transport.expect([use for use in uses if use.role != "calls"])

    def _prepare(self, worker: Worker) -> None:
        """Make ready what was declared by now, and say so."""
        client = self.client
        served = self._loader.ours()
        worker.prepare(served)
        transports = client.transports()
        transports.schema()
        for name in worker.served:
            transports.rpc(name)
            transports.event(name)
        for event in worker.events:
            for api, _ in event.listener.events:
                transports.event(api)
        self._say(f"plugins: {', '.join(sorted(client.plugins)) or 'none'}")
        for kind, name, address in transports.made():
            self._say(f"{kind} transport: {name} at {address}")
        for name in client.registry.names():
            if name not in served:
                owner = self.manifest.api(name).owner
                self._say(f"the API {name} is owned by {owner}: known here, but not served")
        self._say(f"APIs in the registry: {', '.join(client.registry.public()) or 'none'}")
        for event in worker.events:
            listener = event.listener
            names = ", ".join(f"{api}.{name}" for api, name in listener.events)
            self._say(f"listener {listener.name}: {names} (concurrency {listener.concurrency})")
        for schedule in client.all_schedules().values() if "tasks" in client.features else ():
            self._say(f"schedule {schedule.name}: {schedule.times} ({schedule.scope})")

    def _say(self, line: str) -> None:
        if line not in self._announced:
            self._announced.add(line)
            logger.info("%s", line)

    def _refuse_idleness(self, may_come: bool) -> None:
        """Refuse to run where nothing is declared and nothing more may come."""
        client = self.client
        declared = (client.listeners, client.all_schedules(), client.background)
        apis = [name for name in client.registry.names() if not client.registry.get(name).only_tells]
        if not (apis or any(declared) or may_come):
            names = ", ".join(self.manifest.modules)
            raise ConfigurationError(
                f"there is nothing to host: {names} defines no API, listener, schedule or background "
                "task; derive a class from lightbus.Api, or name another module with --bus"
            )

    async def _insist(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something that needs the broker; wait for it unless the host is to fail fast."""
        if not self._fail_fast:
            await self.opening.until_done(action, TransportError)
            return
        try:
            await action()
        except TransportError as e:
            raise e if isinstance(e, TransportUnavailable) else TransportUnavailable(str(e)) from e

    async def _unless_stopped(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Await something, unless the host is to stop first; tell which it was."""
        loop = asyncio.get_running_loop()
        task = own(loop.create_task(coroutine, name="lightbus start"))
        stop = loop.create_task(self._shutdown.wait(), name="lightbus stop")
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            end(task)
            await asyncio.wait([task])
            return False
        task.result()
        return True

    async def _close(self) -> None:
        hooks = self.client.hooks
        await hooks.run_after("after_worker_stopped", hooks.after_worker_stopped, client=self.client)
        await self.client.close_async()
        logger.info("stopped")

    def _keep_log(self) -> None:
        """Keep the log going where a handler configures logging, as one does that sets up Django late."""
        logs.keep()
        asyncio.get_running_loop().call_later(_LOG_KEPT, self._keep_log)

    def _on_hang_up(self) -> None:
        """SIGHUP: read the manifest again."""
        if self._reloader is None or self._shutdown.is_requested:
            state = "stopping" if self._shutdown.is_requested else "starting"
            logger.warning("SIGHUP received, and not heeded: the host is %s", state)
            return
        logger.info("SIGHUP received: reading the manifest again")
        task = begin(self._reloader.reload(), "lightbus reload")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)


async def _until_done(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
