"""Importing what a manifest names into a bus: every problem at once, each where the manifest has it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lightbus.bus.client import BusClient
from lightbus.bus.modules.hosted import hosted
from lightbus.bus.modules.offers import Offers
from lightbus.bus.path import BusPath
from lightbus.declared.definition import Event
from lightbus.declared.listener import Listener, ListenerOptions
from lightbus.declared.policy import DeliveryPolicy
from lightbus.declared.schedule import Schedule, ScheduleOptions
from lightbus.exceptions import LightbusException
from lightbus.manifest.model import Manifest
from lightbus.manifest.plugins import make_plugins
from lightbus.manifest.problems import Place, Problems
from lightbus.manifest.wiring import default_service_name
from lightbus.options import values_of
from lightbus.outbox.inboxes import with_inbox
from lightbus.transports.redis.custom_codec import find_class
from lightbus.worker.django import DjangoConnections

from .importing import import_bus_module, import_object, look_in, set_up_django

T = TypeVar("T")
logger = logging.getLogger(__name__)

_DEFAULT = Place("the default")


class Loader:
    """Imports what one manifest names.

    Args:
        manifest: The manifest.
        client: The bus that it is declared on.
        folder: The folder in which modules are looked for first.
    """

    def __init__(self, manifest: Manifest, client: BusClient, folder: Path) -> None:
        self._manifest = manifest
        self._client = client
        self._folder = folder
        #: Which of the APIs that its modules define or import it offers.
        self.offers = Offers(client.registry)
        self.problems = Problems()
        self._unimportable: set[str] = set()

    def load(self, bus: BusPath) -> list[ModuleType]:
        """Import the modules, and declare on the bus what the manifest says.

        Args:
            bus: The bus that modules get when they ask for one.

        Returns:
            The bus modules.

        Raises:
            InvalidManifest: Something can't be imported or does not fit; every reason is given.
        """
        hosted(bus, self._manifest)
        self._set_up()
        modules: list[ModuleType] = []
        registry, given = self._client.registry, self._manifest.modules_given
        for index, module_name in enumerate(self._manifest.modules):
            module = self._try("modules", index, import_bus_module, module_name, self._folder, given)
            if module is not None:
                modules.append(module)
                self.offers.add(module)
            else:
                self._unimportable.add(module_name)
        self._name_service()
        self._client.use_plugins(make_plugins(self._manifest, self._client.service_name, self.problems))
        for name in self.ours():
            self._try("modules", None, registry.instance, name)
        if len(modules) == len(self._manifest.modules):
            self._look_for_owned()
        records = self.listeners()
        for listener in self._manifest.listeners:
            events, record = self._known_events(listener), records.get(listener)
            if record is not None and events is not None and self._takes(record, events):
                self._try(f"listeners.{listener}.handler", None, self._client.add_listener, record)
        self._client.parts.declarations.schedules.update(self.schedules())
        self._look_for_classes()
        self.problems.raise_errors()
        return modules

    def load_for_relays(self) -> None:
        """Import what sending needs that was written before: Django, plugins and classes of transports.

        Modules and handlers are left alone: none of them is to run. A bus that some module of the database
        makes all the same is a bus of its own.

        Raises:
            InvalidManifest: Something can't be imported; every reason is given.
        """
        self._set_up()
        parts, name = self._client.parts, self._client.service_name or default_service_name(())
        identity = replace(parts.identity, service_name=name)
        parts.connections.rewire(replace(parts.wiring, identity=identity))
        self._client.use_plugins(make_plugins(self._manifest, name, self.problems))
        self._look_for_classes()
        self.problems.raise_errors()

    def listeners(self) -> dict[str, Listener]:
        """Make the records of the manifest's listeners; what is wrong is added to :attr:`problems`."""
        known = self._exceptions()
        made = {}
        for name, options in self._manifest.listeners.items():
            path = f"listeners.{name}.handler"
            handler = self._import(path, None, options.handler)
            if handler is not None and options.inbox is not None:
                given = (handler, options, self._manifest, import_object)
                handler = self._try(f"listeners.{name}.inbox", None, with_inbox, *given)
            if handler is not None:
                policy = _with_exceptions(options.on_error, known)
                made[name] = self._try(path, None, _listener, name, options, handler, policy)
        return {name: record for name, record in made.items() if record is not None}

    def schedules(self) -> dict[str, Schedule]:
        """Make the records of the manifest's schedules; what is wrong is added to :attr:`problems`."""
        made = {}
        for name, options in self._manifest.schedules.items():
            path = f"schedules.{name}"
            function = self._import(f"{path}.call", None, options.call)
            if name in self._client.parts.declarations.recurring:
                what = "the code has a schedule of that name too; rename one of them"
                self.problems.add(self._place(path), path, what)
            if function is not None:
                self._check_call(f"{path}.call", function)
            if function is not None and not isinstance(function, type):
                key = "cron" if options.cron is not None else "every"
                made[name] = self._try(f"{path}.{key}", None, _schedule, name, options, function)
        return {name: record for name, record in made.items() if record is not None}

    def _set_up(self) -> None:
        look_in(self._folder)
        if set_up_django(self._manifest, self.problems):
            DjangoConnections().look_after(self._client.parts)
        # Without it, each module that has to do with models would fail as well.
        self.problems.raise_errors()

    def _exceptions(self) -> dict[str, type[BaseException]]:
        """Import the exception types that policies name."""
        found: dict[str, type[BaseException]] = {}
        for policy_name, policy in self._manifest.policies.items():
            path = f"policies.{policy_name}.give_up_on"
            for name in policy.give_up_on_names:
                index = self._index(path, name)
                cls = found.get(name) or self._import(path, index, name)
                if isinstance(cls, type) and issubclass(cls, BaseException):
                    found[name] = cls
                elif cls is not None:
                    self.problems.add(self._place(path, index), path, f"{name} is no exception type")
        return found

    def _name_service(self) -> None:
        """Give a service without a name that of the first API that it owns."""
        client = self._client
        if client.service_name:
            return
        registry = client.registry
        owned = [name for name in self.ours() if not registry.get(name).internal]
        name = default_service_name(owned)
        if not owned:
            logger.warning(
                "no service_name is given, and no API: the service is called %r, as its folder. Another one "
                "in a folder of that name shares its consumer groups, and each event goes to only one of the "
                "two; write service_name: NAME into the manifest, or give --service-name NAME",
                name,
            )
        parts = client.parts
        identity = replace(parts.identity, service_name=name)
        parts.connections.rewire(replace(parts.wiring, identity=identity))

    def ours(self) -> list[str]:
        """Return the names of the APIs that are defined here and this service's to serve."""
        return [name for name in self._client.registry.names() if self._client.parts.owns(name)]

    def _look_for_owned(self) -> None:
        """Tell about APIs that the manifest gives to this service and no module defines."""
        for name, record in self._manifest.apis.items():
            if record.owner == self._client.service_name and self._client.registry.find(name) is None:
                modules = ", ".join(self._manifest.modules)
                what = f"this service owns the API, but {modules} defines no class with Meta.name = {name!r}"
                self.problems.add(self._place(f"apis.{name}.owner"), f"apis.{name}.owner", what, "warning")

    def _look_for_classes(self) -> None:
        """Import the classes that transports are to write and read messages with."""
        for name, record in {"default": self._manifest.default_api, **self._manifest.apis}.items():
            for kind in ("rpc_transport", "result_transport", "event_transport"):
                chosen = getattr(record, kind)
                for key in ("serializer", "deserializer"):
                    path = f"apis.{name}.{kind}.{chosen.name}.{key}"
                    if self._manifest.origin(path) is not None and hasattr(chosen.options, key):
                        self._try(path, None, find_class, getattr(chosen.options, key))

    def _known_events(self, name: str) -> list[tuple[str, Event]] | None:
        """Return the events of APIs defined here that a listener asks for; None if one does not exist."""
        found: list[tuple[str, Event]] = []
        complete = True
        for index, (api_name, event_name) in enumerate(self._manifest.listeners[name].pairs):
            definition = self._client.registry.find(api_name)
            if definition is None:
                continue
            for each in definition.events if event_name == "*" else (event_name,):
                event = self._try(f"listeners.{name}.events", index, definition.event, each)
                complete = complete and event is not None
                found += [(f"{api_name}.{each}", event)] if event is not None else []
        return found if complete else None

    def _takes(self, record: Listener, events: Sequence[tuple[str, Event]]) -> bool:
        """Check that a handler takes the arguments of its events."""
        before = len(self.problems.found)
        for name, event in events:
            self._try(f"listeners.{record.name}.handler", None, record.check_event, name, event)
        return len(self.problems.found) == before

    def _check_call(self, path: str, function: Any) -> None:
        if isinstance(function, type):
            what = f"{function.__module__}:{function.__qualname__} is a class; name a function"
            self.problems.add(self._place(path), path, what)
            return
        try:
            inspect.signature(function).bind()
        except TypeError as e:
            name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', function)}"
            what = f"{name} is called without arguments: {e}"
            self.problems.add(self._place(path), path, what)
        except ValueError:
            logger.debug("%s has no signature to look at", function)

    def _import(self, path: str, index: int | None, name: Any) -> Any:
        """Import what a key names, unless its module is told to be unimportable already."""
        if name.partition(":")[0] in self._unimportable:
            return None
        return self._try(path, index, import_object, name)

    def _try(self, path: str, index: int | None, function: Callable[..., T], *arguments: Any) -> T | None:
        """Call something; what it raises on purpose becomes a problem of the manifest."""
        try:
            return function(*arguments)
        except LightbusException as e:
            place = self._place(path, index)
            if place == _DEFAULT:
                # Nobody wrote that, so only the code that failed is to be looked at.
                self.problems.add(Place(""), "", str(e))
            else:
                self.problems.add(place, path, str(e))
        return None

    def _place(self, path: str, index: int | None = None) -> Place:
        node = self._manifest.tree.find(path) if self._manifest.tree else None
        if node is None or node.value is None:
            return _DEFAULT
        if index is not None and isinstance(node.value, list) and index < len(node.value):
            return node.value[index].place
        return node.place

    def _index(self, path: str, name: str) -> int | None:
        node = self._manifest.tree.find(path) if self._manifest.tree else None
        values = [item.value for item in node.value] if node and isinstance(node.value, list) else []
        return values.index(name) if name in values else None


def _with_exceptions(policy: DeliveryPolicy, known: Mapping[str, type[BaseException]]) -> DeliveryPolicy:
    names: Sequence[str] = getattr(policy, "give_up_on_names", ())
    if not names:
        return policy
    imported = tuple(known[name] for name in names if name in known)
    return replace(policy, give_up_on=(*policy.give_up_on, *imported))


def _listener(name: str, options: ListenerOptions, handler: Any, policy: DeliveryPolicy) -> Listener:
    own = {"name": name, "events": options.pairs, "handler": handler, "on_error": policy, "in_code": False}
    record = Listener(**{**values_of(options), **own})
    record.caster()
    return record


def _schedule(name: str, options: ScheduleOptions, function: Any) -> Schedule:
    return Schedule(**{**values_of(options), "name": name, "call": function})
