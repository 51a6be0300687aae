"""A whole bus inside a test: a service that is hosted in memory, as ``lightbus run`` hosts it over Redis."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

from lightbus.bus.client import BusClient
from lightbus.bus.modules.hosted import not_hosted
from lightbus.bus.path import BusPath
from lightbus.bus.typed.views import BusView
from lightbus.declared.api import Api
from lightbus.declared.registry import Registry, auto_registered
from lightbus.declared.settings import (
    ApiSettings,
    ChosenTransport,
    EventTransport,
    Feature,
    RpcTransport,
    Wiring,
)
from lightbus.exceptions import ConfigurationError
from lightbus.host.checks import client_for
from lightbus.host.importing import set_up_django
from lightbus.host.life import Life
from lightbus.manifest.load import load
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Problems
from lightbus.messages import EventMessage
from lightbus.runtime.portal import run_blocking
from lightbus.transports.events import DeadLetter
from lightbus.transports.memory.broker import Broker, broker, renew_broker

from .clock import VirtualClock, jobs_go_by
from .lending import lend

What = BusPath | BusView | ModuleType | str | Api | type[Api]

_MEMORY = ChosenTransport("memory")
#: Seconds that handlers which still run at the end of a test may take.
_PATIENCE = 1.0
#: How often the bus must be found quiet, one step of the event loop after the other, to be believed.
_QUIET = 5
_active: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Hosted]] = WeakKeyDictionary()


class Hosted:
    """Hosts a service in memory for the length of a ``with`` or ``async with`` block.

    Services that are hosted at a time on one event loop see each other. Methods whose names end in ``_async``
    are for code on an event loop, those without for synchronous code.

    Args:
        what: Its bus modules (or their names), its bus, or classes derived from ``Api`` (or objects of them).
            It serves the APIs that its modules define or import by name.
        config: Its manifest, as a mapping or a path; transports that it names are replaced.
        clock: The clock of schedules and retries; one of its own if not given. A service that is hosted
            while another one is takes the other's.
        features: What it does, any of ``rpcs``, ``events``, ``tasks`` and ``outbox``; what its manifest or
            its bus says if not given.

    Attributes:
        bus: Its bus.
        clock: The clock of schedules and retries.
        shutdown_reason: Why it has asked to be shut down, if it has.
    """

    bus: BusPath
    clock: VirtualClock

    def __init__(
        self,
        *what: What,
        config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        clock: VirtualClock | None = None,
        features: Sequence[Feature] | None = None,
    ) -> None:
        self._what = what
        self._config = config
        self._features = features
        self._given_clock = clock
        self.shutdown_reason: str | None = None

    # For tests

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until everything is delivered; see :meth:`settle_async`."""
        self._block(self.settle_async, timeout, name="settle")

    async def settle_async(self, timeout: float = 30.0) -> None:
        """Wait until every event and call is handled, and every run of a schedule has ended.

        What waits for its time (a retry, the next tick) waits for the clock; what a handler has started and
        does not wait for is not seen.

        Args:
            timeout: The most seconds to wait.

        Raises:
            AssertionError: Something still runs; the message says what.
        """
        end = asyncio.get_running_loop().time() + timeout
        quiet = 0
        while quiet < _QUIET:
            busy = next(self._busy(), None)
            quiet = 0 if busy else quiet + 1
            if busy and asyncio.get_running_loop().time() > end:
                raise AssertionError(f"after {timeout:g} s the bus is not quiet: {busy}")
            await asyncio.sleep(0.001 if busy else 0)

    def advance(self, seconds: float) -> None:
        """Let time pass on the clock; see :meth:`VirtualClock.advance_async`."""
        self._block(self.clock.advance_async, seconds, name="advance")

    async def advance_async(self, seconds: float) -> None:
        """Let time pass on the clock; see :meth:`VirtualClock.advance_async`."""
        await self.clock.advance_async(seconds)

    def events(self, name: str | None = None) -> list[EventMessage]:
        """Return the events that were fired since the first service was hosted, in order.

        Args:
            name: Only those of this name, such as ``auth.user_registered``.
        """
        messages = [stored.copy() for stored in self._broker.history]
        return [message for message in messages if name in (None, message.canonical_name)]

    def dead_letters(self, listener_name: str) -> list[DeadLetter]:
        """Return the events that a listener of this service has put aside, oldest first."""
        name = f"{self.bus.client.service_name}-{listener_name}"
        groups = [(key, group) for key, group in self._broker.groups.items() if group.name == name]
        letters = [kept.letter(name, key) for key, group in groups for kept in group.dead]
        return sorted(letters, key=lambda letter: letter.died_at)

    # Its life

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        others = _active.setdefault(loop, [])
        if not others:
            renew_broker()
        self._broker: Broker = broker()
        self.clock = others[0].clock if others else self._given_clock or VirtualClock()
        if self._given_clock not in (None, self.clock):
            raise ConfigurationError("services that are hosted together have one clock: give the same one")
        self._broker.clock = self.clock
        ready: asyncio.Future[None] = loop.create_future()
        self._stop = asyncio.Event()
        # Its whole life is in one task, whichever tasks enter and leave.
        self._task = loop.create_task(self._live(ready), name="lightbus hosted")
        await asyncio.wait([ready, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await self._task
        others.append(self)
        self.clock.settlers.append(self.settle_async)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clock.settlers.remove(self.settle_async)
        _active[asyncio.get_running_loop()].remove(self)
        self._stop.set()
        await self._task

    def __enter__(self) -> Self:
        self._block(self.__aenter__, name="__enter__")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block(self.__aexit__, kind, error, trace, name="__exit__")

    async def _live(self, ready: asyncio.Future[None]) -> None:
        manifest, folder = self._manifest()
        problems = Problems()
        set_up_django(manifest, problems)
        problems.raise_errors()
        names = [each for each in self._what if isinstance(each, str)]
        modules = [importlib.import_module(each) for each in (*names, *manifest.modules)]
        modules += [each for each in self._what if isinstance(each, ModuleType)]
        client = self._client(modules, manifest)
        wiring = client.parts.wiring if self._config is None else client_for(manifest).parts.wiring
        if not wiring.identity.service_name:
            wiring = replace(wiring, identity=client.parts.identity)
        # Else it would serve what all of the tests have imported.
        is_given = any(isinstance(each, BusPath) for each in self._what)
        registry = client.registry if is_given else client.registry.alone()
        with lend(client, _in_memory(wiring), registry), jobs_go_by(self.clock):
            self.bus = BusPath(client)
            client.parts.clock = self.clock
            client.parts.shutdown_handler = self._note_shutdown
            for api in (*_apis_of(modules), *self._what):
                if isinstance(api, Api | type):
                    client.register_api(api)
            self._life = Life(manifest, self.bus, folder, features=self._features, may_be_idle=True)
            try:
                self._life.load(modules)
                await self._life.live(self._stop.wait, _PATIENCE, lambda: ready.set_result(None))
            finally:
                not_hosted(self.bus)
                # Once more, where it could not be loaded.
                await client.close_async()

    def _manifest(self) -> tuple[Manifest, Path]:
        if self._config is None or isinstance(self._config, Mapping):
            given = {"modules": [], **(self._config or {})}
            return load(create_arguments=given, look_around=False, environ={}), Path.cwd()
        path = Path(self._config)
        return load([str(path)], create_arguments={"modules": []}), path.parent

    def _client(self, modules: Sequence[ModuleType], manifest: Manifest) -> BusClient:
        buses = [each for each in self._what if isinstance(each, BusPath)]
        buses += [each for module in modules for each in vars(module).values() if isinstance(each, BusPath)]
        clients = list(dict.fromkeys(each.client for each in buses))
        if len(clients) > 1:
            raise ConfigurationError(
                "these modules have several buses, as if they were different services; host each by itself: "
                "with hosted(one), hosted(other)"
            )
        if clients:
            return clients[0]
        wiring = client_for(manifest).parts.wiring
        name = manifest.service_name or (modules[0].__name__.rpartition(".")[2] if modules else "test")
        return BusClient(replace(wiring, identity=replace(wiring.identity, service_name=name)), Registry())

    def _busy(self) -> Iterator[str]:
        """Say what there is to do still."""
        for host in _active.get(asyncio.get_running_loop()) or [self]:
            if host.shutdown_reason is not None:
                if not host._task.done():
                    yield "it shuts down"
                continue
            client = host.bus.client
            for listener in client.listeners.values():
                name, apis = f"{client.service_name}-{listener.name}", {api for api, _ in listener.events}
                for group in self._broker.groups.values() if listener.enabled else ():
                    number = len(group) + sum(group.held.values())
                    if number and group.name == name and group.api_names & apis:
                        yield f"the listener {listener.name} has {number} events to handle"
            worker = host._life.worker
            if worker is not None and worker.schedules.running:
                yield f"{worker.schedules.running} schedules run"
        for name, queue in self._broker.queues.items():
            if queue.process_names and len(queue) + queue.running:
                yield f"the API {name} has {len(queue) + queue.running} calls to answer"

    def _note_shutdown(self, reason: str) -> None:
        self.shutdown_reason = reason
        self._task.get_loop().call_soon_threadsafe(self._stop.set)

    def _block(self, function: Any, *args: Any, name: str) -> Any:
        blocking = f"{name}() of a hosted service"
        instead = "async with" if name.startswith("__") else f"{name}_async()"
        return run_blocking(None, function, *args, blocking=blocking, awaitable=instead)


hosted = Hosted


def _apis_of(modules: Sequence[ModuleType]) -> Iterator[type[Api]]:
    """Go through the APIs that modules offer by defining or importing their classes."""
    for module in modules:
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, Api) and each is not Api:
                definition = each.__lightbus__
                if auto_registered.find(definition.name) is definition:
                    yield each


def _in_memory(wiring: Wiring) -> Wiring:
    """Return the same with messages that stay in this process."""
    apis = wiring.api

    def api(name: str) -> ApiSettings:
        return replace(
            apis(name), rpc_transport=RpcTransport(_MEMORY), event_transport=EventTransport(_MEMORY)
        )

    return replace(wiring, api=api, schema_transport=_MEMORY)
