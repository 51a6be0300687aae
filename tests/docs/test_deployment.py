"""The files of the page on deployment are right, and give a process the time that it needs to end."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightbus.manifest.load import load

from .pages import DOCS

PAGE = (DOCS / "how-to" / "deployment.md").read_text()


def blocks(language: str) -> list[str]:
    """The blocks of code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def described(key: str) -> Any:
    """The one YAML block that has a key at its top."""
    (found,) = [parsed for text in blocks("yaml") if key in (parsed := yaml.safe_load(text))]
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_the_unit_is_right(tmp_path: Path) -> None:
    (unit,) = blocks("ini")
    name = re.match(r"# /etc/systemd/system/(.*)\n", unit)
    assert name is not None
    path = tmp_path / name[1]
    path.write_text(unit.replace("/srv/shop/.venv", sys.prefix))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if path.name in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_each_way_of_stopping_waits_for_longer_than_a_process_needs(tmp_path: Path) -> None:
    (tmp_path / "lightbus.yaml").write_text("{}")
    drain_timeout = load(["lightbus.yaml"], environ={}, cwd=tmp_path).bus.drain_timeout
    told = re.findall(
        r"(?:TimeoutStopSec=|stop_grace_period: |--stop-timeout |terminationGracePeriodSeconds: )(\d+)", PAGE
    )
    assert len(told) >= 8
    # The page says so, and that what hangs is left behind 15 s after drain_timeout at the latest.
    assert {int(seconds) for seconds in told} == {drain_timeout + 20}


def test_the_manifest_is_right_where_its_secrets_are(tmp_path: Path) -> None:
    (text,) = [text for text in blocks("yaml") if text.startswith("# production.yaml\n")]
    (tmp_path / "password").write_text("secret")
    (tmp_path / "lightbus.yaml").write_text(
        text.replace("/etc/shop/redis_password", str(tmp_path / "password"))
    )
    environment = {"REDIS_URL": "rediss://redis:6379/0"}
    manifest = load(["lightbus.yaml"], environ=environment, cwd=tmp_path)
    assert (manifest.notes, str(manifest.bus.redis.url)) == ((), "rediss://redis:6379/0")


def test_the_manifest_the_container_and_the_pod_fit_together(tmp_path: Path) -> None:
    manifest = described("bus")
    port = int(manifest["http"]["listen"].rpartition(":")[2])
    password = manifest["bus"]["redis"]["password"].removeprefix("${file:").removesuffix("}")

    compose = described("services")["services"]["shop"]
    assert compose["secrets"] == [{"source": "redis_password", "target": password}]

    (pod,) = [described("apiVersion")["spec"]["template"]["spec"]]
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["volumeMounts"][0]["mountPath"] == str(Path(password).parent)

    (dockerfile,) = blocks("dockerfile")
    command = json.loads(re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)[-1])
    assert command == container["args"]
    assert f"EXPOSE {port}\n" in dockerfile
    assert f":{port}/livez" in dockerfile
    (unit,) = blocks("ini")
    assert " ".join(command[1:]) in unit
