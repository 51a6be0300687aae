"""A manifest to a running process: import, check, open, run, drain, close."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .api import Registry, auto_registered, where
from .client import BusClient
from .creation import default_service_name, hosted, wiring_of
from .declarations import Feature
from .embedded import HOST as LOOPBACK
from .embedded import EmbeddedServer, answers
from .exceptions import ConfigurationError, LightbusException, MissingExtra, TransportUnavailable
from .listener import Listener
from .manifest.model import Manifest
from .modules import import_modules, import_object
from .path import BusPath
from .portal import new_event_loop
from .transports.base import Identity, Transport
from .worker import Worker

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78

_DEFAULT_PORT = 6379


class Host:
    """Runs one service in this process.

    Args:
        manifest: What to host.
        features: What to do, if not what the manifest says.
        fail_fast: Whether to end with status 69 where a broker does not answer at the start.
        folder: Where modules are looked for and the embedded server keeps its data.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        features: tuple[Feature, ...] | None = None,
        fail_fast: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self._fail_fast = fail_fast
        self._folder = folder or Path.cwd()
        self._embedded: EmbeddedServer | None = None
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
            self._provide_redis()
            loop_factory = asyncio.new_event_loop if self.manifest.event_loop == "asyncio" else new_event_loop
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(self._serve())
        except ConfigurationError as e:
            logger.error("%s", e)
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
        registry = Registry(auto_registered)
        wiring = wiring_of(self.manifest, registry)
        # A service without a name gets that of its first API, which is not imported yet.
        identity = Identity(self.manifest.service_name or "", wiring.identity.process_name)
        client = BusClient(replace(wiring, identity=identity), registry)
        client.set_features(features or self.manifest.features)
        client.shutdown_handler = self.shut_down
        return client

    # Before anything is taken

    def _load(self) -> None:
        """Import what the manifest names, and check that it fits together."""
        hosted(self.bus)
        self._modules = import_modules(self.manifest.modules, self._folder, given=self.manifest.modules_given)
        self._name_service()
        self._add_listeners()
        self._served = self._served_apis()
        client = self.client
        if not (self._served or client.listeners or client.recurring or client.background):
            hooks = [m for m in self._modules if hasattr(m, "before_server_start")]
            if not hooks:
                names = ", ".join(self.manifest.modules)
                raise ConfigurationError(
                    f"there is nothing to host: {names} defines no API, listener, schedule or background "
                    "task; derive a class from lightbus.Api, or name another module with --bus"
                )

    def _name_service(self) -> None:
        client = self.client
        if client.service_name:
            return
        owned = [
            n for n in client.registry.names() if self._is_ours(n) and not client.registry.get(n).internal
        ]
        name = default_service_name(owned)
        if not owned:
            logger.warning(
                "no service_name is given, and no API: calling the service %r, as its folder", name
            )
        client.wiring = replace(client.wiring, identity=replace(client.wiring.identity, service_name=name))

    def _is_ours(self, api_name: str) -> bool:
        owner = self.manifest.api(api_name).owner
        return owner is None or owner == self.client.service_name

    def _served_apis(self) -> list[str]:
        served = []
        for name in self.client.registry.names():
            if self._is_ours(name):
                served.append(name)
            else:
                owner = self.manifest.api(name).owner
                logger.info("the API %s is owned by %s: known here, but not served", name, owner)
        return served

    def _add_listeners(self) -> None:
        for name, options in self.manifest.listeners.items():
            place = self.manifest.origin(f"listeners.{name}.handler")
            handler = import_object(options.handler, f"{place}  listeners.{name}.handler")
            pairs = tuple((api, event) for api, _, event in (e.rpartition(".") for e in options.events))
            since = options.since if isinstance(options.since, str) else str(options.since.timestamp())
            record = Listener(
                name, pairs, handler, options.on_error, options.concurrency, since, options.enabled
            )
            self.client.add_listener(record)

    def _provide_redis(self) -> None:
        """Start a server where none is configured and none answers, or where the manifest asks for one."""
        wanted = self.manifest.bus.redis.embedded
        uses_redis = any(
            t.name == "redis"
            for api in (self.manifest.default_api, *self.manifest.apis.values())
            for t in (api.rpc_transport, api.event_transport)
        )
        if wanted is False or not uses_redis:
            return
        if wanted is None and (self.manifest.redis_configured or answers(LOOPBACK, _DEFAULT_PORT)):
            return
        url = self.manifest.bus.redis.url
        port = (urlsplit(url.reveal()).port if url is not None else None) or _DEFAULT_PORT
        server = EmbeddedServer(port, self._folder / ".lightbus")
        try:
            if server.start():
                self._embedded = server
        except MissingExtra as e:
            if wanted:
                raise
            logger.warning("nothing answers at %s:%d, and %s", LOOPBACK, _DEFAULT_PORT, e)

    # The life of the process

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.client.home = asyncio.get_running_loop()
        with self._signals():
            await self._run_start_functions()
            worker = Worker(self.client, self._served)
            self._announce(worker)
            if not await self._until_stopped(self._open(worker), self._stop):
                await self._close()
                return
            try:
                async with asyncio.TaskGroup() as group:
                    worker.start(group)
                    logger.info("ready: %s runs as %s", self.client.service_name, self.client.process_name)
                    await self._stop.wait()
                    await self._drain(worker)
            finally:
                await self._close()

    async def _run_start_functions(self) -> None:
        """Call ``before_server_start(bus)`` of each module, in which listeners are set up."""
        for module in self._modules:
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
        hooks = self.client.hooks
        await worker.join()
        await worker.publish_contracts()
        await hooks.run(hooks.before_worker_start, client=self.client)

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
        logger.info("APIs in the registry: %s", ", ".join(client.registry.names()) or "none")
        for event in worker.events:
            listener = event.listener
            names = ", ".join(f"{api}.{name}" for api, name in listener.events)
            logger.info("listener %s: %s (concurrency %d)", listener.name, names, listener.concurrency)

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
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
