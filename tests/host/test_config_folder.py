"""``config/``: the layered manifest of the examples is hosted as it stands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.manifest.load import load
from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.servers import Server, free_port

ROOT = Path(__file__).parents[2]
PRODUCTION = "config/environments/production.yaml"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Project]:
    """A copy of config/ and examples/, without what a run leaves behind."""
    for name in ("config", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    project = Project(tmp_path, None)
    yield project
    project.close()


def test_it_is_hosted_with_a_redis_of_its_own(house: Project) -> None:
    url = f"bus.redis.url=redis://127.0.0.1:{free_port()}/0"
    host = house.host("-c", "config", "--set", url, "--set", "schedules.beat.every=100ms")
    host.wait_for_line("teapots on the shelf")
    done = house.run(
        *("call", "-c", "config", "--set", url, "shop.orders.place", "customer=Ann"),
        'lines=[{"sku": "teapot", "quantity": 1}]',
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    host.wait_for_line("order 1: one teapot taken, 11 left")
    host.wait_for_line("order 1: receipt for teapot sent to Ann")
    assert host.terminate() == 0
    output = host.output()
    assert "Redis: embedded Valkey at" in output and "stopped the embedded Valkey" in output
    assert "schedule refill_shelves: 0 2 * * * (service)" in output
    assert " error" not in output and "Traceback" not in output


def test_production_lies_over_it(house: Project, redis_server: Server) -> None:
    del house.env["LIGHTBUS__BUS__LOG_FORMAT"]
    done = house.run(
        *("config", "show", "--origin", "-c", "config", "-c", PRODUCTION, "--set", "bus.log_level=debug"),
        *("--set", "bus.redis.password=s3cret-word"),
        REDIS_URL="rediss://:s3cret-word@redis:6379/0",
    )
    assert done.returncode == 0, done.stderr
    shown = re.sub(" +", " ", done.stdout)
    assert "log_level: debug # --set bus.log_level" in shown
    assert f"log_format: json # {PRODUCTION}:8:15" in shown
    assert "concurrency: 64 # " + PRODUCTION in shown
    assert "s3cret" not in shown


def test_production_is_hosted_over_tls_with_its_secret_from_a_file(
    house: Project, certificates: Path, start_server: StartServer
) -> None:
    port = free_port()
    tls = {"port": str(port), "cert-file": "server.pem", "key-file": "server.key", "auth-clients": "no"}
    files = {name: str(certificates / value) if "." in value else value for name, value in tls.items()}
    server = start_server("redis7", args=tuple(a for n, v in files.items() for a in (f"--tls-{n}", v)))
    server.execute("ACL", "SETUSER", "shop", "on", ">s3cret-word", "~*", "&*", "+@all")
    secret = house.write("redis_password", "s3cret-word\n")
    overlay = house.folder / PRODUCTION
    text = overlay.read_text().replace("/run/secrets/redis_password", str(secret))
    overlay.write_text(text.replace("/etc/ssl/certs/redis-ca.pem", str(certificates / "server.pem")))

    command = ("run", "-c", "config", "-c", PRODUCTION, "--set", "bus.log_format=text")
    wrong = house.start(*command, "--fail-fast", REDIS_URL=f"rediss://localhost:{server.port}")
    assert wrong.wait() == 69
    host = house.start(*command, REDIS_URL=f"rediss://localhost:{port}")
    host.wait_for_line("ready: ")
    assert f"Redis: localhost:{port}/0" in host.output()
    clients = server.execute("CLIENT", "LIST").decode()
    assert "user=shop" in clients
    assert "health and metrics: http://0.0.0.0:8099" in host.output()
    assert host.terminate() == 0
    assert "s3cret" not in host.output() + wrong.output()


def test_every_example_is_checked(house: Project) -> None:
    done = house.run("check", "-c", "config", "--imports")
    assert done.returncode == 0, done.stdout


def test_the_module_may_come_from_the_environment(house: Project, redis_server: Server) -> None:
    house.write("other.py", "import lightbus\nclass A(lightbus.Api):\n    class Meta: name = 'other'\n")
    house.write("lightbus.yaml", f"modules: [nothere]\nbus: {{redis: {{url: '{redis_server.url}'}}}}")
    host = house.host("-c", "lightbus.yaml", LIGHTBUS_MODULE="other")
    assert "APIs in the registry: other" in host.output()


def test_the_smallest_manifest_names_what_it_hosts() -> None:
    assert load(["config"], cwd=ROOT, environ={}).modules == ("examples.shop.bus",)
