"""Projects whose files are written for those who run them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.guide.project import Project

ROOT = Path(__file__).parents[2]
TARGETS = ("systemd", "docker", "compose", "kubernetes", "keda")

PLAIN = """
    service_name: shop
    bus: {redis: {url: "redis://redis:6379/2"}}
    http: {listen: "0.0.0.0:8099"}
    listeners:
      send: {events: [auth.registered], handler: "bus:send"}
    """
#: All that comes from elsewhere.
SECRETIVE = """
    service_name: Shop_of.Ours
    processes: 4
    bus:
      drain_timeout: 90s
      redis:
        url: ${REDIS_URL:?the Redis}
        username: ${REDIS_USER}
        password: ${file:/run/secrets/redis_password}
        tls: {ca_file: /etc/ssl/certs/redis-ca.pem}
    http: {listen: 8099, dead_after: 2m}
    apis:
      default: {rpc_timeout: "${PATIENCE:-7s}"}
      auth: {event_transport: {redis: {stream_use: per_event}}}
    listeners:
      send: {events: [auth.registered, auth.forgotten], handler: "bus:send"}
      note: {events: ["billing.*"], handler: "bus:note"}
      off: {events: [auth.registered], handler: "bus:off", enabled: false}
    schedules:
      beat: {cron: "0 2 * * *", call: "bus:beat"}
    """
SENTINEL = """
    service_name: shop
    bus:
      redis:
        sentinel: {service: main, nodes: ["a:26379", "b:26379"]}
        password: ${file:secrets/pass word}
    http: {listen: "[::1]:8099"}
    listeners:
      send: {events: [auth.registered], handler: "bus:send"}
    """
CLUSTER = """
    service_name: shop
    bus: {redis: {cluster: {nodes: ["a:6379", "b:6379"]}, password: "${file:secrets/password}"}}
    http: {listen: "0.0.0.0:8099"}
    listeners:
      send: {events: [auth.registered], handler: "bus:send"}
    """
MANIFESTS = {"plain": PLAIN, "secretive": SECRETIVE, "sentinel": SENTINEL, "cluster": CLUSTER}


class Exporter:
    """A project of which files are written.

    Args:
        project: The project.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.folder

    def write(self, manifest: str) -> None:
        """Write its manifest."""
        self.project.write("lightbus.yaml", manifest)

    def run(self, target: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``lightbus export TARGET ARGS``."""
        return self.project.run("export", target, *args, **env)

    def files(self, target: str, *args: str, **env: str) -> dict[str, str]:
        """The files that are written for a target, by name."""
        done = self.run(target, *args, "--out", f"out/{target}", **env)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return {path.name: path.read_text() for path in (self.folder / "out" / target).iterdir()}

    def objects(self, target: str, *args: str) -> list[Any]:
        """The YAML documents that are written for a target."""
        (text,) = self.files(target, *args).values()
        return list(yaml.safe_load_all(text))


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, None)
    yield Exporter(project)
    project.close()


@pytest.fixture(params=sorted(MANIFESTS))
def each(request: pytest.FixtureRequest, exporter: Exporter) -> Exporter:
    """A project of each kind."""
    exporter.write(MANIFESTS[request.param])
    return exporter
