"""The shape of the house: who may import whom, how large a room may be, what `import lightbus` costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lightbus

PACKAGE = Path(lightbus.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGE = PACKAGE.parent / "docs" / "explanation" / "architecture.md"

# The modules at the top that hold the public words: together they are one room.
WORDS = {"exceptions", "messages", "options", "serializers"}
# The front doors show what others have made. Only the rooms from the host on use them.
FRONT_DOORS = {"", "__main__"}
# These have the names of the libraries that they are for, and nobody looks behind them for anything else.
DOORS_OF_LIBRARIES = {"django", "sqlalchemy"}

MOST_AT_THE_TOP = 20
MOST_IN_A_FOLDER = 14
# One command a file is easier to find than any grouping of them.
LARGE_FOLDERS = {"cli/commands"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
NAMES_WITHOUT_A_NOUN = {"utilities", "utils", "util", "common", "helpers", "helper", "misc"}
HEAVY = [
    "aiohttp",
    "cerberus",
    "click",
    "django",
    "http.server",
    "jinja2",
    "jsonschema",
    "opentelemetry",
    "prometheus_client",
    "rich",
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "yaml",
]

PUBLIC_NAMES = [
    "Api",
    "Backoff",
    "BusClient",
    "BusPath",
    "DeliveryPolicy",
    "Event",
    "EventMessage",
    "LightbusException",
    "LightbusPlugin",
    "OnError",
    "Parameter",
    "ResultMessage",
    "RpcMessage",
    "Sensitive",
    "__version__",
    "create",
    "get_bus",
]

Floors = dict[str, int]


def printed_floors(heading: str) -> Floors:
    """The rooms of one list on the architecture page, each with its floor; the lowest is 0.

    The page is the only place where the rule is written, so that what is printed is what is enforced.
    """
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    block = re.search(r"```text\n(.*?)```", section, re.DOTALL)
    assert block is not None, f"the section {heading!r} of {PAGE.name} has no list of floors"
    floors: Floors = {}
    for number, line in enumerate(reversed(block[1].strip().splitlines())):
        floors |= dict.fromkeys(line.split("|")[0].split(), number)
    return floors


ROOMS = printed_floors("Which way imports go")
REDIS_ROOMS = printed_floors("Inside transports/redis")


def name_of(path: Path) -> str:
    """``lightbus/contracts/known.py`` is "contracts.known"; a folder has the name of its ``__init__.py``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def room_of(name: str) -> str:
    """The room of a module: its first part, but for the public words."""
    first = name.partition(".")[0]
    return "words" if first in WORDS else first


def redis_room_of(name: str) -> str | None:
    """The room within ``transports/redis``; None outside of it."""
    inside = name.removeprefix("transports.redis.")
    return inside.partition(".")[0] if inside != name else None


@cache
def nodes_of(code: str) -> list[ast.stmt]:
    """The imports and the functions of a module, inside of others too."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]


def imports_of(code: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a module imports anywhere, inside functions and for types too."""
    for node in nodes_of(code):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def package_of(path: Path) -> list[str]:
    """What relative imports in a file start from."""
    return ["lightbus", *path.relative_to(PACKAGE).parent.parts]


def ours(code: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """Line and name of each module of this package that a module imports."""
    for line, full in imports_of(code, package):
        root, _, other = full.partition(".")
        while other and other not in NAMES:  # a class or function: its module is meant
            other = other.rpartition(".")[0]
        if root == "lightbus":
            yield line, other


def wrong_imports(name: str, code: str, package: list[str]) -> list[str]:
    """What a module imports from rooms that it must not see."""
    wrong = []
    for line, other in ours(code, package):
        if other in FRONT_DOORS:
            is_right = ROOMS[room_of(name)] >= ROOMS["host"]
        else:
            is_right = is_below(room_of(other), room_of(name), ROOMS)
            of, by = redis_room_of(other), redis_room_of(name)
            if of is not None and by is not None:
                is_right = is_right and is_below(of, by, REDIS_ROOMS)
        if not is_right:
            wrong.append(f"line {line} imports {other or 'lightbus itself'}")
    return wrong


def is_below(used: str, user: str, floors: Floors) -> bool:
    """Whether one room may be used by another: it is the same one, or lies on a lower floor."""
    assert {used, user} <= floors.keys(), f"{used} or {user} is on no floor: enter it on {PAGE.name}"
    return used == user or floors[used] < floors[user]


@cache
def graph() -> dict[str, set[str]]:
    """The modules that each module imports."""
    return {
        name: {other for _, other in ours(path.read_text(), package_of(path))} - {name}
        for name, path in NAMES.items()
    }


def circle_in(uses: dict[str, set[str]]) -> list[str]:
    """A way from a module back to itself; empty where there is none."""
    try:
        TopologicalSorter(uses).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


# One test for all modules: as a thousand, they would cost each process of the tests a second to collect.
def test_a_module_imports_only_from_its_own_room_and_the_floors_below() -> None:
    wrong = {
        name: wrong_imports(name, path.read_text(), package_of(path))
        for name, path in NAMES.items()
        if name not in FRONT_DOORS
    }
    assert {name: each for name, each in wrong.items() if each} == {}


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circle_in(graph()) == []


def test_the_page_names_each_room_and_no_other() -> None:
    rooms = {room_of(name) for name in NAMES if name not in FRONT_DOORS}
    assert ROOMS.keys() == rooms
    inside = {room for name in NAMES if (room := redis_room_of(name))}
    assert REDIS_ROOMS.keys() == inside


def test_only_the_redis_transport_knows_the_redis_library() -> None:
    knowing = {
        name_of(path)
        for path in MODULES
        for _, full in imports_of(path.read_text(), package_of(path))
        if full.split(".")[0] == "redis"
    }
    assert [name for name in sorted(knowing) if not name.startswith("transports.redis")] == []


def where_to_find() -> list[str]:
    """The second column of the table that leads from a question to its code."""
    section = PAGE.read_text().partition("\n## Where to find\n")[2].partition("\n## ")[0]
    return [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][1:]


def test_each_place_that_the_page_sends_a_reader_to_is_there() -> None:
    places = [place for cell in where_to_find() for place in re.findall(r"`([a-z_]+(?:/[a-z_]+)+)`", cell)]
    paths = [PACKAGE / place.removeprefix("lightbus/") for place in places]
    assert len(paths) > len(where_to_find())  # Most cells name one, some several.
    assert [str(path) for path in paths if not (path.is_dir() or path.with_suffix(".py").exists())] == []


def test_each_name_that_the_page_says_is_in_a_file_is_defined_there() -> None:
    named = [pair for cell in where_to_find() for pair in re.findall(r"`(\w+)` in `([a-z_/]+)`", cell)]
    assert named
    assert [
        f"{name} in {place}"
        for name, place in named
        if not re.search(rf"^((class|def) )?{name}\b", (PACKAGE / f"{place}.py").read_text(), re.MULTILINE)
    ] == []


def entries(folder: Path) -> list[str]:
    """The modules and packages in a folder, without its own ``__init__``."""
    return sorted(
        each.stem
        for each in folder.iterdir()
        if (each.suffix == ".py" and each.stem != "__init__") or (each / "__init__.py").exists()
    )


def test_the_top_can_be_taken_in_at_a_glance() -> None:
    doors = {"__main__", *DOORS_OF_LIBRARIES}
    assert len(set(entries(PACKAGE)) - doors) <= MOST_AT_THE_TOP


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    folders = {path.parent for path in MODULES} - {PACKAGE}
    counted = {folder.relative_to(PACKAGE).as_posix(): len(entries(folder)) for folder in folders}
    too_many = {name: count for name, count in counted.items() if count > MOST_IN_A_FOLDER}
    assert too_many.keys() - LARGE_FOLDERS == set(), too_many


def test_a_file_can_be_read_in_one_sitting() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_a_function_fits_on_a_screen() -> None:
    found = [
        (name_of(path), node.name, node.end_lineno - node.lineno + 1)
        for path in MODULES
        for node in nodes_of(path.read_text())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]
    assert [each for each in found if each[2] > LONGEST_FUNCTION] == []


def test_every_module_is_named_for_what_it_holds() -> None:
    assert [name for name in sorted(NAMES) if NAMES_WITHOUT_A_NOUN & set(name.split("."))] == []


def test_importing_lightbus_is_light() -> None:
    show = f"import sys, lightbus; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_these() -> None:
    assert sorted(lightbus.__all__) == sorted(PUBLIC_NAMES)


def test_every_public_name_says_what_it_is() -> None:
    documented = [name for name in lightbus.__all__ if name != "__version__"]
    assert [name for name in documented if not getattr(lightbus, name).__doc__] == []


class TestTheseRulesThemselves:
    @pytest.mark.parametrize(
        "code",
        [
            "from lightbus.declared.api import Api",
            "import lightbus.declared.api",
            "from lightbus import Api",
            "def late():\n    from lightbus.transports import port",
            "if TYPE_CHECKING:\n    from lightbus.contracts import known",
        ],
    )
    def test_an_import_from_above_is_seen_however_it_is_written(self, code: str) -> None:
        assert len(wrong_imports("values.shapes", code, ["lightbus", "values"])) == 1

    def test_rooms_of_one_floor_do_not_see_each_other(self) -> None:
        code = "from lightbus.transports.port import Transport"
        assert len(wrong_imports("contracts.known", code, ["lightbus", "contracts"])) == 1

    def test_an_import_from_above_within_the_redis_transport_is_seen(self) -> None:
        code = "from lightbus.transports.redis.events.transport import RedisEventTransport"
        package = ["lightbus", "transports", "redis", "link"]
        assert len(wrong_imports("transports.redis.link.pipe", code, package)) == 1

    @pytest.mark.parametrize(
        "code",
        [
            "from lightbus.exceptions import X",
            "from .replies import Y",
            "from lightbus.transports.redis.link.pipe import Z",
            "import redis",
        ],
    )
    def test_an_import_from_below_or_beside_or_outside_is_right(self, code: str) -> None:
        package = ["lightbus", "transports", "redis", "rpc"]
        assert wrong_imports("transports.redis.rpc.transport", code, package) == []

    def test_a_circle_is_found(self) -> None:
        assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
        assert circle_in({"a": {"b"}, "b": {"c"}, "d": {"a"}}) == []
