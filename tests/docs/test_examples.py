"""Each example runs as its README says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.contracts.clients.module import module_of
from tests.guide.project import Project
from tests.support.patient import ENVIRONMENT
from tests.support.servers import Server

from .installed import checkout_of, shop
from .pages import DOCS
from .requirements import only, requirements

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """A copy of what the examples need, as in a fresh checkout."""
    for name in ("config", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "lightbus.yaml", tmp_path)
    project = Project(tmp_path, redis_server.url)
    project.env |= ENVIRONMENT
    yield project
    project.close()


def commands(name: str) -> list[list[str]]:
    """The indented lines of an example's README."""
    lines = (ROOT / "examples" / name / "README.md").read_text().splitlines()
    return [shlex.split(line) for line in lines if line.startswith("    ")]


def test_the_quickstart(checkout: Project) -> None:
    run, call, fire = commands("quickstart")
    host = checkout.start(*run[1:])
    host.wait_for_line("ready: ")
    assert checkout.python(*call[1:]).stdout == "Password valid!\n"
    assert checkout.python(*fire[1:]).returncode == 0
    host.wait_for_line("To: admin@example.com")


def test_the_shop_of_three_services(checkout: Project) -> None:
    *runs, place, paid = commands("shop")
    shop, payments, mail = [checkout.start(*run[1:]) for run in runs]
    for host in (shop, payments, mail):
        host.wait_for_line("ready: ")
    done = checkout.run(*place[1:])
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    payments.wait_for_line("order 1: Ann pays 24.00")
    shop.wait_for_line("order 1: 24.00 paid")
    mail.wait_for_line("order 1: dear Ann, thank you for 24.00")
    assert checkout.run(*paid[1:]).stdout == "24.0\n"
    for host in (shop, payments, mail):
        assert host.terminate() == 0
        assert " error" not in host.output()


def test_the_typed_clients_of_the_shop_are_what_its_contracts_make() -> None:
    # In another process: classes that are imported here would be known to every bus of the tests.
    script = """
import json
from examples.shop.bus import OrdersApi, StockApi
from examples.shop.payments import PaymentsApi
from lightbus.contracts.contract import contract_of

apis = [api.__lightbus__ for api in (OrdersApi, StockApi, PaymentsApi)]
print(json.dumps({api.name: contract_of(api) for api in apis}))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = (ROOT / "examples/shop/bus_types.py").read_text()
    written_by = re.search(r"Lightbus (\S+), from", code)
    assert written_by is not None
    made = module_of(json.loads(done.stdout), version=written_by[1])
    assert made == code, "run the shop and lightbus types, as its README says"


#: What manifests that are no whole one are laid over, and what is added to them.
WITH = {"console.yaml": ("-c", "config", "--set", "web.token_file=console-tokens")}


@pytest.mark.parametrize("manifest", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda p: p.stem)
def test_its_manifests_are_right(checkout: Project, manifest: Path) -> None:
    more = WITH.get(manifest.name, ())
    done = checkout.run("check", "--imports", *more, "-c", str(manifest.relative_to(ROOT)))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shop_of_the_tutorial_as_the_wheel_brings_it(tmp_path: Path, redis_server: Server) -> None:
    checkout_of(tmp_path / "checkout")
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=tmp_path / "checkout", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wheel = tmp_path / "checkout" / done.stdout.splitlines()[-1]
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    hidden = only(requirements(DOCS / "tutorial" / "three-services.md"), tmp_path / "hidden")
    env = {
        **ENVIRONMENT,
        "LIGHTBUS__BUS__REDIS__URL": redis_server.url,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "installed"), hidden]),
    }
    (tmp_path / "empty").mkdir()
    shop(Path(sys.executable), tmp_path / "empty", env)
