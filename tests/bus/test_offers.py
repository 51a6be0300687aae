"""The classes that bus modules define or import, and a host offers: each mix of ways to write them."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import lightbus
from lightbus.bus.modules.offers import Offers
from lightbus.bus.parts import Parts
from lightbus.declared.registry import Registry
from lightbus.exceptions import DuplicateApi, NotAuthoritative, UnknownApi

SHARED = """
class Shared(Api):
    happened = Event()
    class Meta:
        name = 'shared'
"""
OWN = """
class Own(Api):
    class Meta:
        name = 'own'
"""
# A second class by the name of the one that is imported: an implementation of it, and a stranger.
DERIVED, STRANGER = SHARED.replace("(Api)", "(Shared)"), SHARED.replace("Shared", "Stranger")


class Modules:
    """Bus modules that are run one after the other, as a host imports them.

    Args:
        known: The classes that are defined.
        owners: The owners of APIs as the manifest says them.
    """

    def __init__(self, known: Registry, **owners: str) -> None:
        apis: dict[str, Any] = {name: {"owner": owner} for name, owner in owners.items()}
        apis["default"] = {"event_transport": {"memory": {}}, "rpc_transport": {"memory": {}}}
        self.bus = lightbus.create({"service_name": "tests", "apis": apis})
        client = self.bus.client
        client.parts = Parts(client.parts.wiring, Registry(known), client)
        self.offers = Offers(client.registry)

    def run(self, name: str, text: str, **names: Any) -> ModuleType:
        """Run a module; ``names`` is what it has imported."""
        module = ModuleType(name)
        vars(module).update(Api=lightbus.Api, Event=lightbus.Event, **names)
        exec(text, vars(module))
        return module

    def add(self, name: str, text: str, **names: Any) -> ModuleType:
        """Run a bus module."""
        module = self.run(name, text, **names)
        self.offers.add(module)
        return module

    def offered(self) -> dict[str, str]:
        """The APIs that are offered, each with the reason."""
        client = self.bus.client
        names = [name for name in client.registry.names() if client.parts.owns(name)]
        return {name: self.offers.reason(name) for name in names}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The classes that are defined: none yet."""
    registry = Registry()
    monkeypatch.setattr("lightbus.declared.api.auto_registered", registry)
    yield registry


@pytest.fixture
def modules(known: Registry) -> Iterator[Modules]:
    """No module yet."""
    them = Modules(known)
    yield them
    them.bus.client.close()


class TestAModuleWithoutABus:
    def test_offers_what_it_defines_and_imports(self, modules: Modules) -> None:
        modules.add("bus", SHARED.replace("happened", "happens") + OWN)
        assert modules.offered() == {"shared": "defined in bus", "own": "defined in bus"}

    def test_also_what_it_imports_by_way_of_others(self, modules: Modules) -> None:
        modules.run("shared", SHARED)
        modules.add("bus", OWN)
        assert modules.offered() == {"shared": "imported from shared", "own": "defined in bus"}

    def test_but_not_what_the_manifest_gives_to_another_service(self, known: Registry) -> None:
        modules = Modules(known, shared="other")
        modules.add("bus", OWN, Shared=modules.run("shared", SHARED).Shared)
        assert modules.offered() == {"own": "defined in bus"}
        with pytest.raises(NotAuthoritative, match="'other' owns the API"):
            modules.bus.shared.happened.fire()


class TestAModuleWithABus:
    def test_registers_what_it_offers_and_only_knows_what_it_imports(self, modules: Modules) -> None:
        shared = modules.run("shared", SHARED)
        text = "class Extra(Shared):\n    class Meta: name = 'extra'; auto_register = False\n"
        modules.add("bus", f"{text}bus.client.register_api(Extra())", bus=modules.bus, Shared=shared.Shared)
        assert modules.offered() == {"extra": "by register_api()"}
        with pytest.raises(NotAuthoritative, match=r"does not register it; .*register_api\(Shared\(\)\)"):
            modules.bus.shared.happened.fire()

    def test_offers_what_it_defines(self, modules: Modules) -> None:
        shared = modules.run("shared", SHARED)
        modules.add("bus", OWN, bus=modules.bus, Shared=shared.Shared)
        assert modules.offered() == {"own": "defined in bus"}

    def test_of_whatever_name_or_only_its_client(self, modules: Modules) -> None:
        shared = modules.run("shared", SHARED)
        modules.add("bus", "", the_client=modules.bus.client, Shared=shared.Shared)
        assert modules.offered() == {}

    def test_that_it_does_not_keep_but_registers_with(self, modules: Modules) -> None:
        shared = modules.run("shared", SHARED)
        register = modules.bus.client.register_api
        modules.add("bus", f"{OWN}register(Own())", register=register, Shared=shared.Shared)
        assert modules.offered() == {"own": "by register_api()"}

    def test_offers_what_it_registers_when_it_starts(self, modules: Modules) -> None:
        shared = modules.run("shared", SHARED)
        modules.add("bus", "", bus=modules.bus, Shared=shared.Shared)
        assert modules.offered() == {}
        modules.bus.client.register_api(shared.Shared())
        assert modules.offered() == {"shared": "by register_api()"}
        modules.bus.shared.happened.fire()

    def test_offers_what_the_manifest_gives_it(self, known: Registry) -> None:
        modules = Modules(known, shared="tests")
        modules.add("bus", "", bus=modules.bus, Shared=modules.run("shared", SHARED).Shared)
        assert list(modules.offered()) == ["shared"]
        modules.bus.shared.happened.fire()

    def test_does_not_offer_what_handlers_import_after_it(self, modules: Modules) -> None:
        modules.add("bus", OWN, bus=modules.bus)
        modules.run("handlers", SHARED)
        assert modules.offered() == {"own": "defined in bus"}


def test_of_several_modules_each_goes_by_its_own_rule(modules: Modules) -> None:
    one, two = modules.run("one", SHARED), modules.run("two", SHARED.replace("shared", "second"))
    modules.add("with_bus", "", bus=modules.bus, Shared=one.Shared)
    modules.add("without", OWN, Shared=two.Shared)
    assert modules.offered() == {"second": "imported from two", "own": "defined in without"}


def test_a_proxy_in_a_module_is_not_asked_for_its_class(modules: Modules) -> None:
    class Proxy:
        @property  # type: ignore[misc]
        def __class__(self) -> Any:  # as a request of Flask, outside of one
            raise RuntimeError

    modules.add("bus", OWN, request=Proxy())
    assert modules.offered() == {"own": "defined in bus"}


class TestTwoClassesOfOneName:
    def test_one_derived_from_an_imported_one_takes_its_place(self, modules: Modules) -> None:
        shared = modules.run("shared", SHARED)
        bus = modules.add("bus", DERIVED.replace("Shared(", "Mine("), Shared=shared.Shared)
        assert modules.offered() == {"shared": "defined in bus"}
        assert type(modules.bus.client.registry.instance("shared")) is bus.Mine

    def test_an_imported_one_is_no_match_for_one_that_is_registered_or_defined_here(
        self, modules: Modules
    ) -> None:
        modules.run("shared", SHARED)
        bus = modules.add("bus", STRANGER, bus=modules.bus)
        assert type(modules.bus.client.registry.instance("shared")) is bus.Stranger
        modules.bus.client.register_api(bus.Stranger())
        assert modules.offered() == {"shared": "by register_api()"}

    def test_of_which_none_was_chosen_are_refused_where_they_are_used(self, modules: Modules) -> None:
        modules.run("shared", SHARED)
        modules.add("bus", STRANGER)
        for use in (modules.bus.shared.happened.fire, lambda: modules.bus.client.registry.instance("shared")):
            with pytest.raises(
                DuplicateApi, match=r"two classes are the API 'shared': Shared in .* Stranger"
            ):
                use()

    def test_two_are_not_registered(self, modules: Modules) -> None:
        one, two = modules.run("one", SHARED), modules.run("two", SHARED.replace("Shared", "Other"))
        modules.bus.client.register_api(one.Shared())
        with pytest.raises(DuplicateApi, match="two classes are the API 'shared'"):
            modules.bus.client.register_api(two.Other())


def test_code_of_1x_catches_that_an_api_is_not_its_own(modules: Modules) -> None:
    with pytest.raises(UnknownApi, match="does not define the API 'nowhere'"):
        modules.bus.nowhere.happened.fire()
