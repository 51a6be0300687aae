"""The classes of one's own APIs, imported in place of those that would be written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lightbus.contracts.clients.module import module_of
from lightbus.contracts.clients.own import classes_of
from tests.guide.project import Project

from . import apis
from .making import made_of

OWNER = """
from dataclasses import dataclass
from enum import Enum

from lightbus import Api

from bus_types import get_bus


class Kind(Enum):
    USER = "user"
    GUEST = "guest"


@dataclass
class User:
    name: str
    kind: Kind = Kind.USER


class AuthApi(Api):
    class Meta:
        name = "auth"

    def find(self, kind: Kind = Kind.USER) -> list[User]:
        return [User("Ann", kind)]


class ShopApi(Api):
    class Meta:
        name = "shop"

    async def guests(self) -> list[str]:
        return [user.name for user in await get_bus().auth.find.call_async(kind=Kind.GUEST)]
"""


def test_each_class_that_can_be_imported_is_found() -> None:
    found = classes_of(apis.AuthApi.__lightbus__)
    module = apis.__name__
    titles = {title for api, title in found if api == "auth"}
    assert found["auth", "User"] == (module, "User")
    assert titles >= {"Kind", "Size", "Address", "User", "Point", "Box", "Street", "House"}
    # A generic class stands for many, and a dictionary is its own class.
    assert titles.isdisjoint({"Page[User]", "Extra"})


def test_its_objects_are_of_these_classes_then() -> None:
    mapped = classes_of(apis.AuthApi.__lightbus__)
    contracts = {"auth": apis.contracts()["auth"]}
    code = module_of(contracts, "dataclass", mapped)
    assert "class AuthUser" not in code
    assert "class AuthPageUser:" in code
    assert code.endswith(
        "\n# These come last, since they may import this module.\n"
        "import tests.contracts.clients.apis as tests_contracts_clients_apis\n"
    )
    with made_of(contracts, "dataclass", mapped) as module:
        hints: Any = module.AuthApi_one.call.__annotations__["return"]
        assert hints == "tests_contracts_clients_apis.User | None"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project", "redis://127.0.0.1:1")
    made.write("bus.py", OWNER)
    return made


CHECK = """
import sys
{imports}
user = bus.User("Ann")
assert not hasattr(bus_types, "AuthUser")
hint = bus_types.AuthApi_find.call.__annotations__["return"]
print(hint, eval(hint, vars(bus_types)) == list[bus.User])
"""


def test_modules_that_import_each_other_can_be_imported_in_either_order(project: Project) -> None:
    done = project.run("types", "auth", "shop", "--own", "--out", "bus_types.py")
    assert (done.returncode, done.stdout) == (0, "wrote bus_types.py: 2 APIs\n"), done.stderr
    for imports in ("import bus\nimport bus_types", "import bus_types\nimport bus"):
        assert project.script(CHECK.format(imports=imports)) == "list[bus_module.User] True\n"


def test_the_manifest_says_it_too_and_the_option_is_stronger(project: Project) -> None:
    project.write(
        "lightbus.yaml", "types: {own: true, out: bus_types.py, from: contracts.json, apis: [auth]}\n"
    )
    assert project.run("types").returncode == 0
    code = (project.folder / "bus_types.py").read_text()
    assert "bus_module.User" in code
    assert "ShopApi" not in code
    assert project.run("types", "--check").returncode == 0
    done = project.run("types", "--no-own")
    assert done.returncode == 1, done.stdout
    assert "contracts.json" in done.stderr


def test_a_bus_module_that_can_not_be_imported_leaves_no_file(project: Project) -> None:
    project.write("bus.py", "import nothing_of_that_name\n")
    done = project.run("types", "--own", "--out", "bus_types.py")
    assert done.returncode == 78, done.stdout
    assert "nothing_of_that_name" in done.stderr
    assert not (project.folder / "bus_types.py").exists()


def test_what_can_not_be_imported_by_its_name_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[apis.__name__], "User", apis.Address)
    assert ("auth", "User") not in classes_of(apis.AuthApi.__lightbus__)
