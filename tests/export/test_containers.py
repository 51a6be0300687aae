"""The image, and the file for Compose."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from .conftest import PLAIN, SECRETIVE, Exporter


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with its arguments."""
    lines = [line for line in dockerfile.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_the_user_of_an_image_is_not_root_and_owns_nothing(each: Exporter) -> None:
    steps = instructions(each.files("docker")["Dockerfile"])
    known = {"FROM", "ENV", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "CMD"}
    assert {name for name, _ in steps} <= known
    names = [name for name, _ in steps]
    user = dict(steps)["USER"]
    assert (int(user) > 0 and f"--uid {user} " in dict(reversed(steps))["RUN"]) or f"--uid {user} " in str(
        steps
    )
    # Everything is copied before, and nothing is given to the user.
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "COPY")
    assert "--chown" not in str(steps)
    assert names[-1] == "CMD"
    command = json.loads(dict(steps)["CMD"])
    assert command[:2] == ["lightbus", "run"]


def test_an_image_installs_what_the_project_says(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    installs = "RUN pip install 'lightbus[http,schedule]'\n"
    assert installs in exporter.files("docker")["Dockerfile"]
    exporter.project.write("pyproject.toml", "[project]\nname = 'shop'\n")
    assert "RUN pip install /project 'lightbus[http,schedule]'\n" in exporter.files("docker")["Dockerfile"]
    exporter.project.write("requirements.txt", "attrs\n")
    assert "RUN pip install -r requirements.txt 'lightbus[http" in exporter.files("docker")["Dockerfile"]


def test_an_image_has_the_ports_of_all_processes_and_no_secret(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    files = exporter.files("docker")
    assert "\nEXPOSE 8099 8100 8101 8102\n" in files["Dockerfile"]
    ignored = files[".dockerignore"].splitlines()
    assert {".env", "secrets", "**/*.key", ".git", ".venv*", ".lightbus"} <= set(ignored)


def test_a_manifest_that_would_not_be_in_the_image_is_told(exporter: Exporter) -> None:
    exporter.write("service_name: shop\ninclude: [../shared.yaml]")
    (exporter.folder.parent / "shared.yaml").write_text("{}")
    done = exporter.run("docker")
    assert done.returncode == 78 and "shared.yaml is outside of this folder" in done.stderr


def compose_of(exporter: Exporter, *args: str) -> Any:
    (file,) = exporter.objects("compose", *args)
    return file


def test_compose_takes_its_file(each: Exporter) -> None:
    each.files("compose")
    file = each.folder / "out/compose/compose.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_service_of_compose_is_watched_waited_for_and_hardened(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    file = compose_of(exporter, "--image", "registry.example.com/shop:1")
    (service,) = file["services"].values()
    assert service["image"] == "registry.example.com/shop:1"
    assert int(service["stop_grace_period"].removesuffix("s")) > 90 + 15
    assert service["healthcheck"]["test"][-4:] == ["8099", "8100", "8101", "8102"]
    assert "/readyz" in service["healthcheck"]["test"][3]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["environment"] == {
        "PATIENCE": None,
        "REDIS_URL": "${REDIS_URL:?is not set}",
        "REDIS_USER": "${REDIS_USER:?is not set}",
    }
    assert service["secrets"] == [
        {"source": "redis-ca.pem", "target": "/etc/ssl/certs/redis-ca.pem"},
        {"source": "redis_password", "target": "/run/secrets/redis_password"},
    ]
    assert file["secrets"]["redis_password"] == {"file": "./secrets/redis_password"}
    assert "redis" not in file["services"]


def test_the_health_check_of_compose_fails_where_one_process_is_not_ready(exporter: Exporter) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    exporter.write(PLAIN)
    test = compose_of(exporter)["services"]["shop"]["healthcheck"]["test"][1:]
    test = [word.replace("$$", "$") for word in test]
    statuses = iter([200, 503])

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(statuses))
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, *test[1:-1], str(server.server_port)]
        assert subprocess.run(command, capture_output=True).returncode == 0
        assert subprocess.run(command, capture_output=True).returncode == 1
        server.shutdown()


def test_a_redis_comes_with_it_where_the_manifest_names_none(exporter: Exporter) -> None:
    exporter.write("service_name: shop\nhttp: {listen: 8099}\nbus: {redis: {embedded: true}}")
    file = compose_of(exporter)
    command = file["services"]["redis"]["command"]
    assert command == ["valkey-server", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
    assert file["services"]["shop"]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    settings = [word for word in file["services"]["shop"]["command"] if word.startswith("bus.redis")]
    assert settings == ["bus.redis.embedded=false", "bus.redis.url=redis://redis:6379/0"]


@pytest.mark.parametrize("target", ["compose", "docker"])
def test_a_dollar_and_a_quote_arrive_as_they_were_written(exporter: Exporter, target: str) -> None:
    exporter.write(PLAIN)
    setting = "plugins.internal_state.ping_interval=60s"
    odd = ["--set", setting, "--set", 'process_name=it\'s-$HOME-"x"']
    if target == "compose":
        command = compose_of(exporter, *odd)["services"]["shop"]["command"]
        command = [word.replace("$$", "$") for word in command]
    else:
        dockerfile = exporter.files("docker", *odd)["Dockerfile"]
        command = json.loads(re.findall("^CMD (.*)$", dockerfile, re.MULTILINE)[-1])
    assert command == ["lightbus", "run", *odd]
