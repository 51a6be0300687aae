"""What a class offers is fixed when it is defined: its procedures, its events, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from lightbus import Api, Event, Parameter
from lightbus.declared.registry import Registry
from lightbus.exceptions import (
    DuplicateApi,
    EventNotFound,
    InvalidEventArguments,
    InvalidName,
    InvalidParameters,
    MisconfiguredApiOptions,
    ProcedureNotFound,
    UnknownApi,
)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Mixin:
    """Helpers that are nobody's business."""

    def helper(self) -> None: ...


class Base(Api):
    happened = Event(parameters=("a",))
    replaced = Event()

    class Meta:
        name = "base"
        auto_register = False

    def inherited(self) -> str:
        return "base"

    def overridden(self) -> str:
        return "base"

    def withdrawn(self) -> None: ...

    def becomes_an_event(self) -> None: ...


class Full(Mixin, Base):
    constant = 1
    attribute = functools.partial(print)
    withdrawn = None  # type: ignore[assignment]
    becomes_an_event = Event()  # type: ignore[assignment]
    replaced = Event(parameters=("b",))

    class Meta:
        name = "full"
        auto_register = False

    class Nested: ...

    def __init__(self) -> None:
        self.instance_attribute = print

    def overridden(self) -> str:
        return "full"

    def _private(self) -> None: ...

    def __dunder__(self) -> None: ...

    @property
    def computed(self) -> int:
        return 1

    @staticmethod
    def static(a: int) -> int:
        return a

    @classmethod
    def of_class(cls, a: int) -> int:
        return a

    @logged
    def decorated(self, a: int, b: int = 2) -> int:
        return a

    async def coroutine(self, **anything: Any) -> None: ...


DEFINITION = Full.__lightbus__


class TestTheTable:
    def test_public_functions_of_the_class_and_its_apis_are_procedures(self) -> None:
        assert sorted(DEFINITION.procedures) == [
            "coroutine",
            "decorated",
            "inherited",
            "of_class",
            "overridden",
            "static",
        ]

    def test_events_are_inherited_and_replaced(self) -> None:
        assert sorted(DEFINITION.events) == ["becomes_an_event", "happened", "replaced"]
        assert [p.name for p in DEFINITION.events["replaced"].parameters] == ["b"]

    @pytest.mark.parametrize(
        "name",
        [
            "_private",
            "__dunder__",
            "__init__",
            "Meta",
            "Nested",
            "computed",
            "constant",
            "attribute",
            "helper",
        ],
    )
    def test_nothing_else_is_found(self, name: str) -> None:
        with pytest.raises(ProcedureNotFound, match=f"no procedure '{name}'; it has: coroutine, decorated"):
            DEFINITION.procedure(name)
        with pytest.raises(EventNotFound):
            DEFINITION.event(name)

    def test_what_is_added_later_is_not_in_it(self) -> None:
        Full.late = lambda self: None  # type: ignore[attr-defined]
        try:
            assert "late" not in DEFINITION.procedures
        finally:
            del Full.late  # type: ignore[attr-defined]

    def test_a_subclass_has_a_meta_of_its_own(self) -> None:
        with pytest.raises(MisconfiguredApiOptions, match="class Child has no Meta; add: class Meta: name"):
            type("Child", (Base,), {})


class TestVersions:
    def test_that_of_the_api_is_that_of_its_events_but_for_those_that_have_one(self) -> None:
        class Versioned(Base):
            own = Event(version=7)

            class Meta:
                name = "versioned"
                version = 5
                auto_register = False

        events = Versioned.__lightbus__.events
        assert {name: event.version for name, event in events.items()} == {
            "happened": 5, "own": 7, "replaced": 5,
        }  # fmt: skip
        assert {event.version for event in DEFINITION.events.values()} == {1}

    @pytest.mark.parametrize("version", ["5", 1.5, True, None, -1, 10**9])
    def test_what_listeners_would_refuse_is_refused(self, version: Any) -> None:
        meta = type("Meta", (), {"name": "x", "version": version, "auto_register": False})
        with pytest.raises(
            MisconfiguredApiOptions, match=r"X\.Meta\.version is .*; give a whole number from 0"
        ):
            type("X", (Api,), {"Meta": meta})
        if version is not None:
            with pytest.raises(
                MisconfiguredApiOptions, match=r"Event\(version=.*: give a whole number from 0"
            ):
                Event(version=version)


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "kwargs"),
        [
            ("decorated", {"a": 1}),
            ("decorated", {"a": 1, "b": 2}),
            ("static", {"a": 1}),
            ("of_class", {"a": 1}),
            ("coroutine", {"x": 1}),
            ("coroutine", {}),
        ],
    )
    def test_that_fit(self, name: str, kwargs: dict[str, int]) -> None:
        DEFINITION.procedure(name).check_arguments(kwargs)

    @pytest.mark.parametrize(
        ("name", "kwargs", "said"),
        [
            ("decorated", {}, r"full\.decorated takes a, b=\.\.\.; missing: a"),
            ("decorated", {"a": 1, "c": 1, "d": 2}, "unknown: 'c', 'd'"),
            ("decorated", {"a": 1, "self": 1}, "unknown: 'self'"),
            ("of_class", {"cls": 1, "a": 1}, "unknown: 'cls'"),
            ("inherited", {"a": 1}, "takes no arguments; unknown: 'a'"),
        ],
    )
    def test_that_do_not(self, name: str, kwargs: dict[str, int], said: str) -> None:
        with pytest.raises(InvalidParameters, match=said):
            DEFINITION.procedure(name).check_arguments(kwargs)

    def test_an_error_is_short_whatever_came(self) -> None:
        kwargs = {"x" * 100_000 + str(n): n for n in range(1000)}
        with pytest.raises(InvalidParameters) as caught:
            DEFINITION.procedure("decorated").check_arguments(kwargs)
        assert len(str(caught.value)) < 2_000


class TestEvents:
    EVENT = Event(parameters=("a", Parameter("b", int, default=2), Parameter("c", list, default=[])))

    def test_defaults_are_added(self) -> None:
        assert self.EVENT.bind("x.y", {"a": 1}) == {"a": 1, "b": 2, "c": []}
        assert self.EVENT.bind("x.y", {"a": 1, "b": None}) == {"a": 1, "b": None, "c": []}

    @pytest.mark.parametrize("kwargs", [{}, {"b": 1}, {"a": 1, "d": 1}])
    def test_arguments_that_do_not_fit(self, kwargs: dict[str, int]) -> None:
        with pytest.raises(InvalidEventArguments, match=r"x\.y takes a, b=\.\.\., c=\.\.\.; "):
            self.EVENT.bind("x.y", kwargs)

    def test_a_default_of_one_event_is_not_that_of_the_next(self) -> None:
        self.EVENT.bind("x.y", {"a": 1})["c"].append("edited by a hook")
        assert self.EVENT.bind("x.y", {"a": 1})["c"] == []

    def test_a_list_of_names_is_as_good(self) -> None:
        assert [p.name for p in Event(parameters=["a", "b"]).parameters] == ["a", "b"]

    @pytest.mark.parametrize("name", ["", "_a", "1a", "a-b", "a b", "ä", None, 3])
    def test_names_that_cannot_travel(self, name: Any) -> None:
        with pytest.raises(InvalidName, match="a parameter can't be named"):
            Event(parameters=(name,))


class TestRegistry:
    def test_finds_by_name(self) -> None:
        registry = Registry()
        registry.add(Full)
        assert registry.get("full") is DEFINITION
        assert registry.names() == ["full"]
        with pytest.raises(UnknownApi, match="no API named 'base'"):
            registry.get("base")

    def test_makes_one_object_when_it_is_asked_for(self) -> None:
        registry = Registry()
        registry.add(Full)
        assert registry.instance("full") is registry.instance("full")

    def test_keeps_an_object_that_is_given(self) -> None:
        registry, mine = Registry(), Full()
        registry.add(mine)
        assert registry.instance("full") is mine

    def test_one_above_another_sees_both(self) -> None:
        below = Registry()
        below.add(Base)
        above = Registry(below)
        above.add(Full)
        assert above.names() == ["base", "full"]
        assert below.names() == ["base"]
        assert below.find("full") is None

    def test_two_classes_of_one_name_are_refused_but_not_one_file_read_twice(self) -> None:
        def make(qualname: str) -> type[Api]:
            meta = type("Meta", (), {"name": "twice", "auto_register": False})
            members = {"Meta": meta, "__module__": __name__, "__qualname__": qualname}
            return type(qualname, (Api,), members)

        registry = Registry()
        registry.add(make("One"))
        second = make("One")
        registry.add(second)
        assert registry.get("twice").cls is second
        with pytest.raises(DuplicateApi, match="two classes are the API 'twice'"):
            registry.add(make("Other"))
