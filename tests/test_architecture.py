"""The shape of the house: who may import whom, how long a file may be, what `import lightbus` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightbus

PACKAGE = Path(lightbus.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the ground up. A module imports from rooms above its own in this list and from its own, never from
# those below. A name stands for the module or for the whole package.
ROOMS: list[tuple[str, ...]] = [
    (
        "exceptions",
        "options",
        "messages",
        "serializers",
        "clock",
        "metrics",
        "traffic",
        "obstacles",
        "complaints",
        "cancellation",
        "deadline",
        "isolation",
        "tasks",
    ),
    ("values",),
    ("policy",),
    ("definition", "api"),
    ("listener",),
    ("schema",),
    ("transports", "transports.base"),
    ("transports.memory",),
    ("transports.debug",),
    ("transports.redis",),
    ("threads",),
    ("pool",),
    ("hooks",),
    ("recurring",),
    ("plugins",),
    ("expectations",),
    ("wiring",),
    ("portal",),
    ("declarations",),
    ("firing",),
    ("contracts",),
    ("client",),
    ("bus_schema",),
    ("path",),
    ("groups",),
    ("search", "overview"),
    ("worker",),
    ("manifest",),
    ("creation",),
    ("embedded",),
    ("output",),
    ("interpreter",),
    ("logs",),
    ("modules",),
    ("loading",),
    ("uses",),
    ("checks",),
    ("reload",),
    ("signals",),
    ("shutdown",),
    ("supervisor",),
    ("host",),
    ("http",),
    ("cli",),
    ("testing",),
]
# The front doors import what they show. Only those who stand outside use them: from the HTTP pages on.
FRONT_DOORS = {"", "__main__"}
OUTSIDE = "http"

LONGEST_FILE = 400
NAMES_WITHOUT_A_NOUN = {"utilities", "utils", "util", "common", "helpers", "helper", "misc"}
HEAVY = [
    "aiohttp",
    "cerberus",
    "click",
    "http.server",
    "jsonschema",
    "opentelemetry",
    "prometheus_client",
    "rich",
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
    "__version__",
    "create",
    "get_bus",
]


def name_of(path: Path) -> str:
    """``lightbus/schema/types.py`` is "schema.types", ``lightbus/schema/__init__.py`` is "schema"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def floor_of(name: str) -> int | None:
    """The place in ROOMS of the most exact entry that covers a module."""
    candidates = [name]
    while "." in candidates[-1]:
        candidates.append(candidates[-1].rpartition(".")[0])
    for candidate in candidates:
        for floor, room in enumerate(ROOMS):
            if candidate in room:
                return floor
    return None


def package_of(path: Path) -> list[str]:
    """What relative imports in a file start from."""
    return ["lightbus", *path.relative_to(PACKAGE).parent.parts]


def imports_of(code: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """Line and full name of all that a module imports anywhere, inside functions and for types too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def wrong_imports(name: str, code: str, package: list[str]) -> list[str]:
    """What the module `name` imports from rooms below its own."""
    floor = floor_of(name)
    assert floor is not None, f"{name} belongs to no room: give it one in ROOMS"
    wrong = []
    for line, full in imports_of(code, package):
        root, _, other = full.partition(".")
        if root != "lightbus":
            continue
        while other and other not in NAMES:  # a class or function: its module is meant
            other = other.rpartition(".")[0]
        above = floor_of(OUTSIDE if other in FRONT_DOORS else other)
        if above is None or above > floor:
            wrong.append(f"line {line} imports {other or 'lightbus itself'}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_room_and_those_above(path: Path) -> None:
    name = name_of(path)
    if name not in FRONT_DOORS:
        assert wrong_imports(name, path.read_text(), package_of(path)) == []


def test_only_the_redis_transport_knows_the_redis_library() -> None:
    knowing = {
        name_of(path)
        for path in MODULES
        for _, full in imports_of(path.read_text(), package_of(path))
        if full.split(".")[0] == "redis"
    }
    assert [name for name in sorted(knowing) if not name.startswith("transports.redis")] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    length = len(path.read_text().splitlines())
    assert length <= LONGEST_FILE, f"{path.name} has {length} lines; {LONGEST_FILE} are enough"


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
    def test_the_most_exact_room_counts(self) -> None:
        floors = [floor_of(name) for name in ("transports.base", "transports.memory", "transports.redis.rpc")]
        assert floors == sorted({floor for floor in floors if floor is not None})
        assert floor_of("schema.types") == floor_of("schema")
        assert floor_of("nowhere") is None

    @pytest.mark.parametrize(
        "code",
        [
            "from .api import Api",
            "from . import api",
            "import lightbus.declared.api",
            "from lightbus.declared.api import Api",
            "from lightbus import Api",
            "def late():\n    from .transports import base",
            "if TYPE_CHECKING:\n    from .schema import Contract",
        ],
    )
    def test_an_import_from_below_is_seen_however_it_is_written(self, code: str) -> None:
        assert len(wrong_imports("values", code, ["lightbus"])) == 1

    @pytest.mark.parametrize(
        "code", ["from ...exceptions import X", "from .options import Y", "import redis"]
    )
    def test_an_import_from_above_or_beside_or_outside_is_right(self, code: str) -> None:
        assert wrong_imports("transports.redis.rpc", code, ["lightbus", "transports", "redis"]) == []
