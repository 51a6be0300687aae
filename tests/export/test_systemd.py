"""The unit for systemd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.export.conftest import PLAIN, SECRETIVE, Exporter
from tests.support.notify import NotifySocket
from tests.support.processes import Process
from tests.support.servers import Server

#: The most that `systemd-analyze security` says of a service that is well protected, times ten.
_EXPOSED = 30


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("no systemd-analyze: install Debian's package systemd")
    return subprocess.run([program, *args], capture_output=True, text=True)


def unit_of(exporter: Exporter, *args: str) -> RawConfigParser:
    (text,) = exporter.files("systemd", *args).values()
    unit = RawConfigParser(delimiters="=", comment_prefixes="#", strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    return unit


def with_venv(folder: Path) -> str:
    """A folder in which a project is installed, with whose `lightbus` a unit can be looked at."""
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "lightbus").unlink(missing_ok=True)
    (programs / "lightbus").symlink_to(Path(sys.prefix, "bin/lightbus"))
    return str(folder)


def test_systemd_takes_it(each: Exporter) -> None:
    options = ("--folder", with_venv(each.folder), "--set", 'process_name=it\'s-$HOME-%n-"x"')
    (name,) = each.files("systemd", *options)
    done = analyze("verify", "--man=no", str(each.folder / "out/systemd" / name))
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_well_protected(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    exporter.files("systemd")
    unit = str(exporter.folder / "out/systemd/shop.service")
    done = analyze("security", "--offline=true", f"--threshold={_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout + done.stderr


def test_times_and_names_are_those_of_the_manifest(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    unit = unit_of(exporter)
    assert list(exporter.files("systemd")) == ["shop-of-ours.service"]
    service = unit["Service"]
    assert service["Type"] == "notify"
    # 90 s for what runs, 15 for closing at most, and some more.
    assert int(service["TimeoutStopSec"]) > 90 + 15
    assert service["WatchdogSec"] == "120"
    assert service["User"] == "shop-of-ours"
    assert service["EnvironmentFile"] == "/etc/shop-of-ours/environment"
    assert service["ExecStart"] == "/srv/shop-of-ours/.venv/bin/lightbus run"
    (text,) = exporter.files("systemd").values()
    assert "#   REDIS_URL: bus.redis.url, lightbus.yaml:6\n" in text
    assert "#   PATIENCE: apis.default.rpc_timeout, lightbus.yaml:12 (has a default)\n" in text
    assert "#   /run/secrets/redis_password: bus.redis.password, lightbus.yaml:8\n" in text


def test_variables_that_all_have_defaults_need_no_file(exporter: Exporter) -> None:
    exporter.write("service_name: shop\nbus: {redis: {url: '${REDIS_URL:-redis://r}'}}")
    assert unit_of(exporter)["Service"]["EnvironmentFile"] == "-/etc/shop/environment"


def test_a_project_in_a_home_and_an_embedded_redis_can_be_reached(exporter: Exporter) -> None:
    exporter.write("service_name: shop\nbus: {redis: {embedded: true}}")
    service = unit_of(exporter, "--folder", "/home/ann/shop")["Service"]
    assert service["ProtectHome"] == "read-only"
    assert service["ReadWritePaths"] == "-/home/ann/shop/.lightbus"


@pytest.fixture
def told() -> Iterator[NotifySocket]:
    with NotifySocket() as it:
        yield it


def test_its_command_starts_the_service_which_tells_that_it_is_ready(
    exporter: Exporter, redis_server: Server, told: NotifySocket
) -> None:
    exporter.project.write(
        "bus.py", "import lightbus\nclass A(lightbus.Api):\n    class Meta:\n        name = 'a'\n"
    )
    exporter.write("service_name: shop\nbus: {redis: {url: '${REDIS_URL}'}}")
    folder = with_venv(exporter.folder)
    service = unit_of(exporter, "--folder", folder)["Service"]
    watchdog = str(int(service["WatchdogSec"]) * 10**6)
    env = told.environment(REDIS_URL=redis_server.url, WATCHDOG_USEC=watchdog)
    with Process(service["ExecStart"].split(), cwd=Path(service["WorkingDirectory"]), env=env) as host:
        told.wait_for("READY")
        assert host.terminate() == 0
    told.wait_for("READY", "STOPPING")
