"""Names of Lightbus 1.x: each is where it was, is an alias that warns once, or is refused in a sentence."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import lightbus
from lightbus import Api, Event
from lightbus.bus.schema import BusSchema
from lightbus.declared.old_names.members import MEMBERS
from lightbus.declared.old_names.table import INTERNAL, MODULES, NAMES, POOL_ERRORS, RENAMED, UNRAISED
from lightbus.exceptions import LightbusException
from tests.conftest import missing
from tests.wire.peer_1x import find_peer

from .old_names import (
    LIST,
    MEMBERS_LIST,
    PAGE,
    internal,
    member_now,
    members_of_1x,
    names_of_1x,
    now,
    page,
)

ROOT = Path(__file__).parents[2]
ALL = [(module, name) for module, names in names_of_1x().items() for name in names]


@pytest.mark.parametrize(("what", "kept"), [([], LIST), (["members"], MEMBERS_LIST)])
def test_the_list_has_the_names_of_a_real_1x(what: list[str], kept: Path) -> None:
    python = find_peer()
    if python is None:
        missing("no Lightbus 1.x: `make pytest` makes its venv")
    program = Path(__file__).with_name("names_1x.py")
    done = subprocess.run([python, program, *what], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(kept.read_text())


def test_the_page_has_every_name() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m tests.declared.old_names"
    for module, name in ALL:
        assert f"`{name}`" in PAGE.read_text() or internal(module), f"{module}.{name}"
    for of, names in members_of_1x().items():
        for name in names:
            assert f"`{name}`" in PAGE.read_text(), f"{of}.{name}"


def test_each_name_works_or_is_refused_in_the_sentence_of_the_page() -> None:
    text = PAGE.read_text()
    for module, name in ALL:
        place = now(module, name)
        if place.startswith("the same"):
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                exec(f"from {module} import {name}", {})
            except ImportError as e:
                assert "was a part of Lightbus 1.x and is gone; " in str(e), (module, name)
                assert place == "gone: " + str(e).partition("; ")[2].partition(" (see")[0]
            else:
                assert not place.startswith("gone"), (module, name)
                told = place.strip("`").removeprefix("an alias; ")
                # No warning where an earlier test has asked for it.
                assert [str(each.message).endswith(f" {told}") for each in caught] in ([True], [])
        is_below = module == "lightbus" and name in names_of_1x()["lightbus.exceptions"]
        assert is_below or f"| {place} |" in text, (module, name)


def test_the_table_names_nothing_that_1x_did_not_have() -> None:
    known = {f"{module}.{name}" for module, name in ALL}
    assert [name for name in NAMES if name not in known] == []
    modules = names_of_1x()
    assert [name for name in (*MODULES, *INTERNAL) if name not in modules] == []


def test_every_exception_of_1x_can_be_caught() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names_of_1x()["lightbus.exceptions"]:
            error = getattr(import_module("lightbus.exceptions"), name)
            assert issubclass(error, LightbusException), name
            assert getattr(lightbus, name) is error


MEMBERS_OF_1X = [(of, name) for of, names in members_of_1x().items() for name in names]


@pytest.mark.parametrize(("of", "name"), MEMBERS_OF_1X)
def test_each_member_of_an_object_is_there_or_is_refused_in_the_sentence_of_the_page(
    of: str, name: str
) -> None:
    bus = lightbus.create({})
    bus.client.register_api(ShopApi())
    things = {"BusPath": bus.shop.ordered, "BusClient": bus.client, "BusSchema": bus.schema, "Api": ShopApi()}
    place = member_now(of, name)
    if place == "the same":
        # Of the class, where it is a property that would ask the bus.
        assert hasattr(type(things[of]), name)
        return
    with pytest.raises(AttributeError) as caught:
        getattr(things[of], name)
    said = place.removeprefix("gone: ")
    about = f"{name!r} of {of} was a part of Lightbus 1.x and is gone; {said}"
    assert str(caught.value) == f"{about} (see the page 'Names of Lightbus 1.x')"


def test_what_the_sentences_say_instead_is_there() -> None:
    bus = lightbus.create({})
    path = bus.shop.ordered
    assert (str(path), str(path).rpartition(".")[0]) == ("shop.ordered", "shop")
    assert str(path).rpartition(".")[2] == "ordered"
    for of, thing in (("bus.client.", bus.client), ("bus.schema.", bus.schema)):
        for sentences in MEMBERS.values():
            for sentence in sentences.values():
                for word in re.findall(rf"{re.escape(of)}(\w+)\(", sentence):
                    assert callable(getattr(thing, word)), sentence


def test_what_paths_had_of_their_own_are_names_on_the_bus_where_something_may_have_them() -> None:
    bus = lightbus.create({})
    assert str(bus.shop.ordered.api_name) == "shop.ordered.api_name", "an API may be called shop.ordered"
    bus.client.register_api(ShopApi())
    assert str(bus.shop.name) == "shop.name", "it may be a procedure"
    assert str(bus.shop["count"]["parent"]) == "shop.count.parent"
    with pytest.raises(AttributeError):
        bus.shop.count.parent  # noqa: B018
    bus = lightbus.create({})
    count = {"parameters": {"type": "object"}, "response": {}}
    bus.client.parts.contracts.set_remote("shop", {"rpcs": {"count": count}, "events": {}})
    with pytest.raises(AttributeError):
        bus.shop.count.name  # noqa: B018


def test_a_class_tells_what_its_objects_would_tell() -> None:
    with pytest.raises(AttributeError, match=r"'meta' of Api .* is gone; write api\.Meta"):
        ShopApi.meta  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(ShopApi, "get_event")

    class Own(Api):
        class Meta:
            name = "own"
            auto_register = False

        def meta(self) -> str:
            return "its own"

    assert Own().meta() == "its own"


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (lightbus.create({}).client, "'BusClient' object has no attribute 'no_such_thing'"),
        (lightbus.create({}).schema, "'BusSchema' object has no attribute 'no_such_thing'"),
    ],
)
def test_a_member_that_never_was_is_refused_as_python_does_it(thing: object, said: str) -> None:
    with pytest.raises(AttributeError) as caught:
        thing.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    assert str(caught.value) == said


def test_the_table_of_members_names_nothing_that_1x_did_not_have() -> None:
    known = members_of_1x()
    assert [(of, name) for of, names in MEMBERS.items() for name in names if name not in known[of]] == []
    assert BusSchema.__name__ in MEMBERS and lightbus.BusClient.__name__ in MEMBERS


class ShopApi(Api):
    ordered = Event(("what",))

    class Meta:
        name = "shop"
        auto_register = False

    def count(self) -> int:
        return 1


def on_an_event_loop(bus: lightbus.BusPath, folder: Path) -> None:
    async def main() -> None:
        bus.shop.count()

    asyncio.run(main())


def schemas_on_an_event_loop(bus: lightbus.BusPath, folder: Path) -> None:
    async def main() -> None:
        print(bus.schema.api_names)

    asyncio.run(main())


def closed(bus: lightbus.BusPath, folder: Path) -> None:
    bus.client.close()
    bus.shop.count()


def broken_schema(bus: lightbus.BusPath, folder: Path) -> None:
    (folder / "shop.json").write_text("{")
    bus.schema.load_local(folder)


def list_for_a_configuration(bus: lightbus.BusPath, folder: Path) -> None:
    (folder / "bus.yaml").write_text("- 1\n")
    lightbus.create(folder / "bus.yaml")


#: What made 1.x raise each exception that has another name now.
CASES: dict[str, Callable[[Any, Path], Any]] = {
    "CannotBlockHere": on_an_event_loop,
    "DeformError": lambda bus, folder: bus.shop.ordered.fire(what=object()),
    "InvalidApiEventConfiguration": lambda bus, folder: Event(parameters="what"),
    "InvalidEventListener": lambda bus, folder: bus.shop.ordered.listen(lambda: None, listener_name="x"),
    "InvalidSchema": broken_schema,
    "NothingToListenFor": lambda bus, folder: bus.client.listen_for_events([], print, "x"),
    "RemoteSchemasNotLoaded": schemas_on_an_event_loop,
    "TransportIsClosed": closed,
    "TransportPoolIsClosed": closed,
    "UnexpectedConfigurationFormat": list_for_a_configuration,
    "UnsupportedUse": lambda bus, folder: bus.client.set_features(["cooking"]),
}


@pytest.mark.parametrize("name", CASES)
def test_an_old_name_catches_what_is_raised_where_1x_raised_it(name: str, tmp_path: Path) -> None:
    bus = lightbus.create(
        {"apis": {"default": {f"{kind}_transport": {"memory": {}} for kind in ("rpc", "event")}}}
    )
    bus.client.register_api(ShopApi())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = getattr(import_module("lightbus.exceptions"), name)
    with pytest.raises(error):
        CASES[name](bus, tmp_path)
    bus.client.close()


def test_each_renamed_exception_has_its_case() -> None:
    # That of a bus module without a bus belongs to those of get_bus().
    assert CASES.keys() | {"NoBusFoundInBusModule"} == RENAMED.keys()
    assert not {*RENAMED} & {*UNRAISED, *POOL_ERRORS}


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, cwd=ROOT)


def test_an_old_name_warns_once_with_the_new_one_and_the_line_that_has_it() -> None:
    done = run(
        "from lightbus import LightbusTimeout\n" * 2 + "print(LightbusTimeout.__module__)", "-W", "always"
    )
    assert done.stdout == "lightbus.exceptions\n"
    # From Python 3.13 on, the line itself is below.
    said, *_ = done.stderr.splitlines()
    assert said == (
        "<string>:1: DeprecationWarning: lightbus.LightbusTimeout is a name of Lightbus 1.x; "
        "write lightbus.exceptions.LightbusTimeout"
    )
    assert done.stderr.count("DeprecationWarning") == 1


def test_the_table_of_old_names_is_no_part_of_a_start() -> None:
    code = "import sys, lightbus; print(*(n for n in sys.modules if 'old_names' in n))"
    package = "lightbus.declared.old_names"
    assert run(code).stdout.split() == [package, f"{package}.arguments", f"{package}.lookup"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("from lightbus import nothing", "cannot import name 'nothing' from 'lightbus'"),
        ("import lightbus.nothing", "No module named 'lightbus.nothing'"),
        ("import lightbus; lightbus.nothing", "module 'lightbus' has no attribute 'nothing'"),
        (
            "import lightbus.exceptions as e; e.Nothing",
            "module 'lightbus.exceptions' has no attribute 'Nothing'",
        ),
    ],
)
def test_a_name_that_never_was_is_refused_as_python_does_it(code: str, said: str) -> None:
    assert said in run(code).stderr.splitlines()[-1]


def test_features_of_1x_are_the_texts_of_today() -> None:
    done = run(
        "import lightbus\n"
        "from lightbus.utilities.features import ALL_FEATURES, Feature\n"
        "bus = lightbus.create(features=[Feature.RPCS, 'events'])\n"
        "bus.client.set_features(ALL_FEATURES)\n"
        "print(*ALL_FEATURES)",
        "-W",
        "ignore",
    )
    assert (done.stdout, done.stderr) == ("rpcs events tasks\n", "")


def test_the_log_is_configured_as_in_1x() -> None:
    code = "import logging, lightbus; lightbus.configure_logging(); "
    assert run(code + "logging.getLogger('lightbus.x').info('hello')").stderr.endswith(" INFO hello\n")
