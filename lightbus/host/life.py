"""The life of one service in a process: the same steps in the same order, whoever hosts it."""

from __future__ import annotations

import asyncio
import logging
from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from lightbus.bus.path import BusPath
from lightbus.declared.settings import Feature
from lightbus.exceptions import ConfigurationError, TransportError, TransportUnavailable
from lightbus.insight.drift.declared import keep
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Problems
from lightbus.outbox.relays import Relays
from lightbus.runtime.cancellation import end, own
from lightbus.runtime.retrying import Retrying
from lightbus.transports.cards import OutboxCard
from lightbus.worker import Worker
from lightbus.worker.card import HostCard
from lightbus.worker.schedules.control import HostApi

from .banner import Banner
from .checks import broker_problems
from .importing import import_object
from .loading import Loader
from .user_code import run_located, run_start_functions
from .uses import uses_of

Stop = Callable[[], Coroutine[Any, Any, Any]]

logger = logging.getLogger(__name__)


class Life:
    """One service, from its modules to its end: :meth:`load`, then :meth:`live`.

    A step that fails ends the life: its error comes out of the method, after plugins were told of it and the
    bus was closed. Modules are loaded before there is anything to close.

    Args:
        manifest: The service.
        bus: Its bus.
        folder: The folder in which modules are looked for first.
        features: The features to run; stronger than those of the manifest or a module.
        arguments: The arguments of the command line, for plugins.
        fail_fast: Whether to give up where a broker does not answer at the start.
        may_be_idle: Whether a service may live that declares nothing to do.
        is_first: Whether no other process of the same supervisor tells what the service consists of.
        only_relays: Whether it sends the events of outboxes and does nothing else: then no module is imported
            and no API owned.
    """

    def __init__(
        self,
        manifest: Manifest,
        bus: BusPath,
        folder: Path,
        *,
        features: Sequence[Feature] | None = None,
        arguments: Namespace | None = None,
        fail_fast: bool = False,
        may_be_idle: bool = False,
        is_first: bool = True,
        only_relays: bool = False,
    ) -> None:
        self._manifest = manifest
        self._bus = bus
        self._client = bus.client
        self._features = features
        self._arguments = arguments
        self._fail_fast = fail_fast
        self._may_be_idle = may_be_idle
        self._only_relays = only_relays
        self._loader = Loader(manifest, bus.client, folder)
        self._modules: list[ModuleType] = []
        self._banner = Banner(manifest, bus.client, arguments, is_first=is_first)
        #: Its phase: its APIs and listeners work while it is ``ready``.
        self.phase: Literal["starting", "ready", "stopping"] = "starting"
        #: Waits for the brokers before it starts.
        self.opening = Retrying(logger, "the service can't start yet")
        #: The relays of its outboxes.
        self.relays = Relays(manifest, bus.client, import_object)
        #: Its consumers, once there are any.
        self.worker: Worker | None = None

    def load(self, modules: Sequence[ModuleType] = ()) -> None:
        """Import what the manifest names, and check that it fits together.

        Args:
            modules: Bus modules besides those of the manifest.

        Raises:
            ConfigurationError: Something can't be imported or does not fit, or there is nothing to do.
        """
        self._choose_features()
        if self._only_relays:
            self._loader.load_for_relays()
        else:
            self._modules = list(dict.fromkeys([*modules, *self._loader.load(self._bus)]))
        for problem in self._loader.problems.found:
            logger.warning("%s", problem)
        self._choose_features()
        self.relays.load()
        starts = any(hasattr(module, "before_server_start") for module in self._modules)
        hooks = self._client.parts.hooks
        self._look_for_work(may_come=starts or self._loader.offers.has_bus or bool(hooks.before_worker_start))

    def obstacles(self) -> list[str]:
        """Return what keeps the service from doing its work; empty if it is ready. From any thread."""
        known = self._client.parts.obstacles
        if self.phase != "ready":
            return [": ".join(filter(None, (f"the host is {self.phase}", self.opening.trouble))), *known]
        return [*known, *(self.worker.troubles() if self.worker is not None else ())]

    def waits(self) -> list[str]:
        """Return for what it waits that does not keep it from being ready. From any thread."""
        return list(self.worker.waits()) if self.worker is not None else []

    def outboxes(self) -> tuple[OutboxCard, ...]:
        """Return what the card of the process says of the outboxes that it relays."""
        return tuple(self.relays.cards())

    async def live(self, stop: Stop, patience: float, ready: Callable[[], None]) -> None:
        """Start, serve until it is to stop, and close the bus.

        Args:
            stop: Waits until it is to stop; during the start, too.
            patience: Seconds for what runs then.
            ready: Called once everything works.

        Raises:
            ConfigurationError: It can't start as it is configured.
            TransportUnavailable: A broker does not answer, and ``fail_fast`` is on.
        """
        client = self._client
        client.parts.home = asyncio.get_running_loop()
        worker = self.worker = Worker(client.parts)
        try:
            if not await _unless(stop, self._start(worker)):
                return
            worker.start()
            self.relays.start()
            self.phase = "ready"
            client.parts.card.renew()
            ready()
            self._banner.tell_ready(worker)
            await stop()
            self.phase = "stopping"
            client.parts.card.renew()
            logger.info("stopping: no more is taken; what runs has %g s to finish", patience)
            await asyncio.gather(worker.drain(patience), self.relays.stop(patience))
        except Exception as e:
            await client.parts.hooks.report(e)
            raise
        finally:
            await self.relays.close()
            hooks = client.parts.hooks
            if hooks.after_worker_stopped:
                await hooks.after_worker_stopped()
            await client.close_async()
            logger.info("stopped")

    # Before anything is taken

    def _choose_features(self) -> None:
        """Go by what was given, else by the manifest; both are stronger than what a module says."""
        if self._features is not None:
            self._client.set_features(self._features)
        elif self._manifest.origin("features") is not None:
            self._client.set_features(self._manifest.features)

    async def _start(self, worker: Worker) -> None:
        """Everything before ready: from here on, nothing that is sent is missed."""
        client, hooks = self._client, self._client.parts.hooks
        if self._arguments is not None:
            await run_located(hooks, "receive_args", "receive_args() of a plugin", self._arguments)
        await run_start_functions(self._modules, self._bus)
        if self._manifest.bus.remote_control and "tasks" in client.parts.declarations.features:
            client.register_api(HostApi(client.parts.identity, worker.schedules))
        self._prepare(worker)
        self._look_for_work(may_come=bool(hooks.before_worker_start))
        try:
            for transport in client.transports().all():
                await self._insist(transport.open)
        except ConfigurationError:
            await self._check_brokers()  # It says so with the place in the manifest.
            raise
        client.parts.card.begin(HostCard(client.parts, worker, self).fill)
        await self._check_brokers()
        try:
            await worker.sign_on()
            if hooks.before_worker_start:
                await run_located(hooks, "before_worker_start", "the callback of before_worker_start")
                # What it has declared joins as well.
                self._prepare(worker)
                self._look_for_work(may_come=False)
                await worker.sign_on()
        except BaseException:
            # Else others would take it for one who serves, until its leases run out.
            await worker.sign_off()
            raise
        if not self._only_relays:
            await keep(self._manifest, client)

    async def _check_brokers(self) -> None:
        """Tell what the brokers lack; without what nothing can work, the service does not start."""
        problems = Problems(await broker_problems(self._manifest, self._client, "warning"))
        for problem in problems.ordered("warning", "note"):
            logger.log(logging.INFO if problem.severity == "note" else logging.WARNING, "%s", problem)
        problems.raise_errors()
        for kind, transport, api_names in self._client.transports().in_use():
            uses = uses_of(self._manifest, self._client, kind, api_names)
            # Whether it calls the APIs of others that it knows, nobody has said.
            await transport.expect([use for use in uses if use.role != "calls"])

    def _prepare(self, worker: Worker) -> None:
        """Make ready what was declared by now, and say so."""
        client = self._client
        served = [] if self._only_relays else self._loader.ours()
        worker.prepare(served)
        transports = client.transports()
        for name in self._manifest.all_apis if self.relays else ():
            transports.event(name)
        transports.schema()
        for name in worker.served:
            transports.rpc(name)
            transports.event(name)
        for event in worker.events:
            for api, _ in event.listener.events:
                transports.event(api)
        self._banner.tell(worker, served, self._loader.offers)

    def _look_for_work(self, may_come: bool) -> None:
        """Refuse to run where nothing is declared and nothing more may come; where a bus is made, warn."""
        client = self._client
        declared = (client.listeners, client.all_schedules(), client.parts.declarations.background)
        known = [name for name in client.registry.names() if not client.registry.get(name).only_tells]
        apis = [name for name in known if client.parts.owns(name)]
        if apis or any(declared) or may_come or self._may_be_idle or self.relays:
            return
        names = ", ".join(self._manifest.modules)
        if self._loader.offers.has_bus:
            logger.warning(
                "there is nothing to do yet: %s registers no API, listener, schedule or background task; "
                "bus.client.register_api(...) in it serves an API",
                names,
            )
        elif not known:
            raise ConfigurationError(
                f"there is nothing to host: {names} defines no API, listener, schedule or background "
                "task; derive a class from lightbus.Api, or name another module with --bus"
            )

    async def _insist(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something that needs the broker; wait for it unless that is to fail fast.

        Raises:
            ConfigurationError: It is no broker of the kind that is configured, and will be none.
        """
        while True:
            try:
                await action()
            except ConfigurationError:
                raise
            except TransportError as e:
                if self._fail_fast:
                    raise e if isinstance(e, TransportUnavailable) else TransportUnavailable(str(e)) from e
                await self.opening.wait(e)
            else:
                self.opening.clear()
                return


async def _unless(stop: Stop, start: Coroutine[Any, Any, None]) -> bool:
    """Await the start, unless it is to stop first; tell which it was."""
    loop = asyncio.get_running_loop()
    task = own(loop.create_task(start, name="lightbus start"))
    stopping = loop.create_task(stop(), name="lightbus stop")
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        end(task)
        await asyncio.wait([task])
        return False
    task.result()
    return True
