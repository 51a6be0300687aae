"""``lightbus types`` and ``lightbus contract pull``, as a project uses them."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus import Api
from lightbus.contracts.contract import contract_of
from lightbus.contracts.files import write_contracts
from tests.guide.project import Project
from tests.support.servers import Server

OWNER = """
from dataclasses import dataclass
from typing import Literal

from lightbus import Api, Event, Parameter


@dataclass
class User:
    name: str


class AuthApi(Api):
    registered = Event([Parameter("name", str)])

    class Meta:
        name = "auth"

    def find(self, kind: Literal["user"] = "user") -> list[User]:
        return [User("Ann")]


class OrdersApi(Api):
    class Meta:
        name = "shop.orders"

    def place(self, sku: str) -> int:
        return 1
"""
CALLER = """
from shop.bus_types import AuthUser, create

with create() as bus:
    users = bus.auth.find(kind="user")
    print(users, users[0] == AuthUser(name="Ann"), bus.shop.orders.place(sku="x"))
"""
MANIFEST = """
types:
  from: contracts/
  out: shop/bus_types.py
  apis: [auth]
"""


def write_own(project: Project) -> None:
    """Write the contracts of the owner into the folder of a project, as ``lightbus dumpschema`` does."""
    module = types.ModuleType("owner_of_types")
    sys.modules[module.__name__] = module
    exec(OWNER.replace("class Meta:", "class Meta:\n        auto_register = False"), module.__dict__)
    del sys.modules[module.__name__]
    apis = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Api)]
    contracts = {api.__lightbus__.name: contract_of(api.__lightbus__) for api in apis if api is not Api}
    write_contracts(contracts, project.folder / "contracts")


@pytest.fixture
def owner(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """A service with two APIs; it does not run yet."""
    project = Project(tmp_path / "owner", redis_server.url)
    project.write("bus.py", OWNER)
    yield project
    project.close()


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Project:
    """A service that uses them."""
    project = Project(tmp_path / "project", redis_server.url)
    project.folder.mkdir()
    return project


def test_a_module_from_the_bus_makes_typed_buses(owner: Project, project: Project) -> None:
    owner.host()
    done = project.run("types", "--out", "shop/bus_types.py")
    assert (done.returncode, done.stdout) == (0, "wrote shop/bus_types.py: 2 APIs\n"), done.stderr
    assert project.script(CALLER) == "[AuthUser(name='Ann')] True 1\n"
    printed = project.run("types", "auth", "--classes", "typeddict").stdout
    assert "class AuthUser(TypedDict):" in printed
    assert "ShopOrders" not in printed
    done = project.run("contract", "pull", "atuh", "--out", "contracts")
    assert done.returncode == 1
    assert "the bus has no contract of 'atuh'; it has: auth" in done.stderr


class TestWithContractsThatWerePulled:
    @pytest.fixture(autouse=True)
    def pulled(self, project: Project) -> None:
        """The contracts of the bus in a folder, which the manifest names, and the module that they make."""
        write_own(project)
        project.write("lightbus.yaml", MANIFEST)
        assert project.run("types").returncode == 0

    def test_the_manifest_says_all_that_is_left_out(self, project: Project) -> None:
        code = (project.folder / "shop/bus_types.py").read_text()
        assert "class AuthApi(" in code
        assert "ShopOrders" not in code
        assert "ShopOrders" in project.run("types", "shop.orders", "--out", "-").stdout

    def test_its_classes_and_map_hold_too(self, project: Project) -> None:
        no_out = ("--out", "-")
        assert (
            "class AuthUser(TypedDict)"
            in project.run("types", *no_out, "--set", "types.classes=typeddict").stdout
        )
        mapped = project.run("types", *no_out, "--map", "auth.User=shop.models:User").stdout
        assert mapped.endswith("\nimport shop.models as shop_models\n")
        project.write("lightbus.yaml", MANIFEST + "  map: ['auth.User=shop.models:User']\n")
        assert project.run("types", *no_out).stdout == mapped

    def test_check_is_content_with_the_module_that_would_be_written(self, project: Project) -> None:
        done = project.run("types", "--check")
        assert (done.returncode, done.stdout) == (0, "as it would be written: shop/bus_types.py\n")

    def test_check_tells_how_signatures_would_change(self, project: Project) -> None:
        file = project.folder / "contracts/auth.json"
        contract = json.loads(file.read_text())
        contract["auth"]["rpcs"]["find"]["parameters"]["properties"]["kind"]["enum"].append("guest")
        file.write_text(json.dumps(contract))
        before = (project.folder / "shop/bus_types.py").read_text()
        done = project.run("types", "--check")
        assert (done.returncode, done.stdout) == (
            1,
            "auth.find: kind gained 'guest'\n"
            "shop/bus_types.py would change; run lightbus types without --check\n",
        )
        assert (project.folder / "shop/bus_types.py").read_text() == before

    def test_check_tells_of_a_module_that_is_not_there(self, project: Project) -> None:
        (project.folder / "shop/bus_types.py").unlink()
        done = project.run("types", "--check")
        assert (done.returncode, done.stdout.splitlines()[0]) == (1, "shop/bus_types.py is not there")

    def test_the_bus_says_whether_the_owner_has_moved_on_and_pull_follows(
        self, owner: Project, project: Project
    ) -> None:
        owner.write("bus.py", OWNER.replace("name: str", "name: str | None"))
        owner.host()
        done = project.run("types", "--check", "--from", "bus")
        assert done.returncode == 1, done.stderr
        assert done.stdout.splitlines() == [
            "AuthUser: name: str becomes str | None",
            "shop/bus_types.py would change; run lightbus types without --check",
            "auth.find() response[].name: may also be None now (breaks callers)",
            "since contracts/: 1 difference, 1 of them breaking",
        ]

        checked = project.run("contract", "pull", "auth", "shop.orders", "--out", "contracts", "--check")
        assert (checked.returncode, checked.stdout.splitlines()) == (
            1,
            [
                "auth.find() response[].name: may also be None now (breaks callers)",
                "1 difference, 1 of them breaking",
            ],
        )
        done = project.run("contract", "pull", "auth", "--out", "contracts")
        assert (done.returncode, done.stdout) == (0, "wrote contracts/auth.json\n")
        assert "null" in (project.folder / "contracts/auth.json").read_text()
        again = project.run("contract", "pull", "--out", "contracts", "--check")
        assert (again.returncode, again.stdout) == (0, "0 differences, 0 of them breaking\n")


class TestMistakes:
    def test_a_file_of_somebody_else_is_not_written_over(self, project: Project) -> None:
        write_own(project)
        project.write("models.py", "x = 1\n")
        done = project.run("types", "--from", "contracts", "--out", "models.py")
        assert done.returncode == 64
        assert "models.py was not written by lightbus types; name another file with --out" in done.stderr
        assert (project.folder / "models.py").read_text() == "x = 1\n"

    def test_an_api_that_is_not_there_is_told_with_those_that_are(self, project: Project) -> None:
        write_own(project)
        done = project.run("types", "atuh", "--from", "contracts")
        assert done.returncode == 1
        assert "there is no contract of 'atuh' in contracts; there is: auth, shop.orders" in done.stderr
        assert "did you mean auth?" in done.stderr

    def test_check_needs_a_module_and_map_a_class(self, project: Project) -> None:
        assert project.run("types", "--check").returncode == 64
        write_own(project)
        done = project.run("types", "--from", "contracts", "--map", "auth.User")
        assert done.returncode == 64
        assert "write API.CLASS=MODULE:CLASS" in done.stderr
