"""The APIs that bus modules offer though nobody has registered them, and why."""

from __future__ import annotations

from types import ModuleType

from lightbus.bus.client import BusClient
from lightbus.bus.path import BusPath
from lightbus.declared.api import Api
from lightbus.declared.registry import Registry


class Offers:
    """Decides which of the classes that bus modules define or import their host offers.

    A bus module without a bus of its own offers every class that it defines or imports. One that has a bus,
    made by ``lightbus.create()`` or taken from another module, registers what it offers, as in Lightbus 1.x:
    a class that it only imports is another service's, as a rule. Classes that bus modules define are offered
    in either case.

    Args:
        registry: The APIs of the host's bus; it goes by this rule from now on.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._modules: set[str] = set()
        #: The classes that modules without a bus have imported.
        self._imported: set[type] = set()
        #: Whether a module has a bus, and so may register what it offers.
        self.has_bus = False
        self._before = registry.classes(), registry.registered()
        registry.offers = self.include

    def add(self, module: ModuleType) -> None:
        """Take in a bus module that was imported since the last one."""
        classes, registered = self._before
        self._before = self._registry.classes(), self._registry.registered()
        self._modules.add(module.__name__)
        # By their types: to ask a proxy of a web framework for its class may raise.
        values = [
            each for each in vars(module).values() if issubclass(type(each), BusPath | BusClient | type)
        ]
        if registered != self._before[1] or not all(isinstance(each, type) for each in values):
            self.has_bus = True
            return
        named = {each for each in values if isinstance(each, type) and issubclass(each, Api)}
        self._imported |= named | (self._before[0] - classes)

    def include(self, cls: type) -> bool:
        """Tell whether a class is offered that nobody has registered."""
        return not self.has_bus or cls.__module__ in self._modules or cls in self._imported

    def reason(self, name: str) -> str:
        """Say in a word or two why an API is offered that the manifest gives to nobody."""
        if self._registry.is_registered(name):
            return "by register_api()"
        module = self._registry.get(name).cls.__module__
        return f"defined in {module}" if module in self._modules else f"imported from {module}"
