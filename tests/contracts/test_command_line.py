"""``lightbus dumpschema``, ``lightbus contract`` and ``lightbus run --schema``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunLightbus
from tests.support.eventually import eventually
from tests.support.processes import clean_environment
from tests.support.servers import Server

SHOP = """
from dataclasses import dataclass
from lightbus import Api, Event, Parameter

@dataclass
class Item:
    sku: str
    qty: int{qty}

class ShopApi(Api):
    sold = Event(parameters=(Parameter("{event}", str),))

    class Meta:
        name = "shop"

    def price(self, item: Item, note: str | None = None) -> float:
        return 1.0
"""
LISTENER = """
def on_sold(event_message, sku):
    print("heard", sku, flush=True)

def before_server_start(bus):
    bus.shop.sold.listen(on_sold)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that owns an API."""
    write(tmp_path)
    return tmp_path


def write(project: Path, *, qty: str = " = 1", event: str = "sku") -> None:
    """Write the project's bus module."""
    (project / "bus.py").write_text(SHOP.format(qty=qty, event=event))


def lightbus(project: Path, *args: str, url: str = "redis://127.0.0.1:1/0") -> tuple[int, str]:
    """Run one command to its end; by default no Redis answers."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "lightbus", *args],
        cwd=project,
        env=clean_environment({"LIGHTBUS__BUS__REDIS__URL": url, "PYTHONDONTWRITEBYTECODE": "1"}),
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


class TestDumpschema:
    def test_prints_contracts_without_redis(self, project: Path) -> None:
        status, output = lightbus(project, "dumpschema")
        assert status == 0
        assert json.loads(output)["shop"]["rpcs"]["price"]["response"]["type"] == "number"

    def test_writes_a_file_or_a_directory(self, project: Path) -> None:
        assert lightbus(project, "dumpschema", "--out", "all.json")[0] == 0
        assert lightbus(project, "dumpschema", "-o", "schemas")[0] == 0
        whole: dict[str, Any] = json.loads((project / "all.json").read_text())
        assert whole == json.loads((project / "schemas/shop.json").read_text())
        assert list(whole) == ["shop"]

    def test_writes_asyncapi(self, project: Path) -> None:
        status, output = lightbus(project, "dumpschema", "--format", "asyncapi")
        assert status == 0
        assert json.loads(output)["asyncapi"] == "3.0.0"

    @pytest.mark.parametrize(("hint", "wanted"), [("type", 0), ("list['Nobody']", 78)])
    def test_takes_a_hint_that_is_not_known_and_names_one_that_names_nothing(
        self, project: Path, hint: str, wanted: int
    ) -> None:
        (project / "bus.py").write_text(
            SHOP.format(qty=" = 1", event="sku").replace("item: Item", f"item: {hint}")
        )
        status, output = lightbus(project, "dumpschema")
        assert status == wanted
        if status == 0:
            parameters = json.loads(output)["shop"]["rpcs"]["price"]["parameters"]
            assert parameters["properties"]["item"] == {}
        else:
            assert "ShopApi.price" in output and "Nobody" in output


class TestContractCheck:
    def test_is_content_where_nothing_differs(self, project: Path) -> None:
        lightbus(project, "dumpschema", "-o", "schemas")
        assert lightbus(project, "contract", "check", "--against", "schemas") == (
            0,
            "0 differences, 0 of them breaking\n",
        )

    def test_fails_where_callers_or_listeners_would_break_and_says_who(self, project: Path) -> None:
        lightbus(project, "dumpschema", "-o", "all.json")
        write(project, qty="", event="name")
        status, output = lightbus(project, "contract", "check", "--against", "all.json")
        assert status == 1
        assert "shop.price() parameters.item.qty: is required now (breaks callers)" in output
        assert "shop.sold parameters.sku: is gone (breaks listeners" in output
        assert "3 differences, 3 of them breaking" in output

    def test_passes_what_breaks_nobody(self, project: Path) -> None:
        write(project, qty="")
        lightbus(project, "dumpschema", "-o", "all.json")
        write(project)
        status, output = lightbus(project, "contract", "check", "--against", "all.json")
        assert status == 0
        assert "is optional now (breaks nobody; deploy the owner first)" in output

    def test_compares_with_what_is_published(
        self, project: Path, redis_url: str, run_lightbus: RunLightbus
    ) -> None:
        status, output = lightbus(project, "contract", "check", "--against", "bus", url=redis_url)
        assert (status, "start them, or compare with a file" in output) == (1, True)
        host = run_lightbus("run", cwd=project, env={"LIGHTBUS__BUS__REDIS__URL": redis_url})
        host.wait_for_line("ready")
        assert lightbus(project, "contract", "check", "--against", "bus", url=redis_url)[0] == 0
        write(project, qty="")
        status, output = lightbus(project, "contract", "check", "--against", "bus", url=redis_url)
        assert (status, "breaks callers" in output) == (1, True)
        assert lightbus(project, "contract", "show", "shop", url=redis_url)[1].endswith("    qty: int\n")

    def test_says_that_a_file_is_not_there(self, project: Path) -> None:
        status, output = lightbus(project, "contract", "check", "--against", "nothing.json")
        assert (status, "nothing.json" in output) == (1, True)


class TestContractShow:
    def test_prints_an_api_as_a_person_would_write_it(self, project: Path) -> None:
        status, output = lightbus(project, "contract", "show", "shop")
        assert status == 0
        assert output == (
            "shop.price(item: Item, note: str | None = None) -> float\n"
            "event shop.sold(sku: str)\n\nclass Item:\n    sku: str\n    qty: int = 1\n"
        )

    def test_prints_what_is_on_the_bus_without_any_project(
        self,
        project: Path,
        tmp_path_factory: pytest.TempPathFactory,
        redis_server: Server,
        run_lightbus: RunLightbus,
    ) -> None:
        run_lightbus("run", cwd=project, env={"LIGHTBUS__BUS__REDIS__URL": redis_server.url})
        eventually(lambda: redis_server.execute("EXISTS", "schema:shop"), 60)
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        status, output = lightbus(elsewhere, "contract", "show", "shop", url=redis_server.url)
        assert (status, output.splitlines()[0]) == (
            0,
            "shop.price(item: Item, note: str | None = None) -> float",
        )
        status, output = lightbus(elsewhere, "contract", "show", "nope", url=redis_server.url)
        assert (status, "start the service that owns it" in output) == (1, True)


class TestRunWithContractsOfAFile:
    def test_validates_events_by_the_file(
        self,
        project: Path,
        tmp_path_factory: pytest.TempPathFactory,
        redis_url: str,
        run_lightbus: RunLightbus,
    ) -> None:
        write(project, event="sku")
        lightbus(project, "dumpschema", "-o", "shop.json")
        elsewhere = tmp_path_factory.mktemp("listener")
        (elsewhere / "bus.py").write_text(LISTENER)
        env = {"LIGHTBUS__BUS__REDIS__URL": redis_url, "LIGHTBUS__APIS__DEFAULT__CAST_VALUES": "false"}
        host = run_lightbus(
            "run", "--schema", str(project / "shop.json"), "-s", "mail", cwd=elsewhere, env=env
        )
        host.wait_for_line("ready")
        loose = {"LIGHTBUS__APIS__DEFAULT__VALIDATE": "false"}
        for value in ("5", "x"):
            fire = run_lightbus("fire", "shop.sold", f"sku={value}", cwd=project, env={**env, **loose})
            assert fire.wait() == 0, fire.output()
        host.wait_for_line("heard x")
        host.wait_for_line("sku: expected string, got 5")
        assert "heard 5" not in host.output()
