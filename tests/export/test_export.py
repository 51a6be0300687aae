"""What holds for all that ``lightbus export`` writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import PLAIN, ROOT, SECRETIVE, TARGETS, Exporter

each_target = pytest.mark.parametrize("target", TARGETS)
CANARY = "hunter2-canary"


@each_target
def test_a_file_says_how_it_was_made_and_that_makes_it_again(exporter: Exporter, target: str) -> None:
    exporter.write(PLAIN)
    for text in exporter.files(target, "--set", "bus.drain_timeout=31s").values():
        command = text.partition("\n")[0].removeprefix("# Written by: lightbus export ")
        assert command == f"{target} --set bus.drain_timeout=31s"
        printed = exporter.run(*command.split()).stdout
        assert text in printed


@each_target
def test_the_same_manifest_gives_the_same_files_whatever_the_environment(each: Exporter, target: str) -> None:
    first = each.files(target)
    other = {"REDIS_URL": "redis://elsewhere:1/0", "PATIENCE": "1s", "LIGHTBUS__BUS__DRAIN_TIMEOUT": "1s"}
    assert each.files(target, **other) == first
    assert all(text.endswith("\n") and "\n\n\n" not in text and " \n" not in text for text in first.values())


@each_target
def test_check_says_whether_a_folder_has_what_would_be_written(exporter: Exporter, target: str) -> None:
    exporter.write(PLAIN)
    folder = exporter.folder / "out" / target
    names = sorted(exporter.files(target))
    done = exporter.run(target, "--out", str(folder), "--check")
    assert done.returncode == 0 and done.stdout.startswith("as they would be written: ")

    changed = folder / names[-1]
    before = changed.read_text()
    changed.write_text(f"{before}# by hand\n")
    done = exporter.run(target, "--out", str(folder), "--check")
    assert done.returncode == 1
    assert f"--- {changed}" in done.stdout and "\n-# by hand\n" in done.stdout
    assert changed.read_text() == f"{before}# by hand\n"

    changed.unlink()
    done = exporter.run(target, "--out", str(folder), "--check")
    assert done.returncode == 1 and "--- /dev/null" in done.stdout
    assert not changed.exists()


def test_check_without_a_folder_is_misuse(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    done = exporter.run("docker", "--check")
    assert done.returncode == 64 and "--out DIR" in done.stderr


def test_a_file_that_somebody_else_has_written_stays(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    (exporter.folder / "Dockerfile").write_text("FROM scratch\n")
    done = exporter.run("docker", "--out", ".")
    assert done.returncode == 1 and "Dockerfile was not written by this command" in done.stderr
    assert (exporter.folder / "Dockerfile").read_text() == "FROM scratch\n"
    assert not (exporter.folder / ".dockerignore").exists()


@each_target
def test_no_secret_gets_into_a_file_or_on_the_screen(exporter: Exporter, target: str) -> None:
    exporter.project.write("secret", CANARY)
    exporter.write(
        f"""
        service_name: shop
        bus:
          redis: {{url: "redis://user:{CANARY}@redis:6379/0", password: "{CANARY}"}}
        http: {{listen: "0.0.0.0:8099"}}
        apis:
          auth: {{redis: {{url: "${{AUTH_URL}}", password: "${{file:secret}}"}}}}
        listeners:
          send: {{events: [auth.registered, other.happened], handler: "bus:send"}}
        """
    )
    env = {"AUTH_URL": f"redis://:{CANARY}@other:6379/0"}
    done = exporter.run(target, **env)
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    for each in exporter.files(target, **env).values():
        assert CANARY not in each
    for setting in (f"bus.redis.password={CANARY}", f"apis.auth.redis.url=redis://:{CANARY}@a:1/0"):
        done = exporter.run(target, "--set", setting, **env)
        assert done.returncode == 78 and "a secret would get into a file" in done.stderr
        assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("target", "manifest", "place", "what"),
    [
        ("systemd", "{}", "lightbus.yaml:1:1", "service_name: what is written has to have a name"),
        ("systemd", "service_name: a-{hostname}", "lightbus.yaml:1:15", "differs from machine to machine"),
        ("kubernetes", "service_name: a", "lightbus.yaml:1:1", "write http: {listen: 0.0.0.0:8099}"),
        ("compose", "service_name: a\nhttp: {}", "lightbus.yaml:2:7", "write http: {listen: 0.0.0.0:8099}"),
        ("compose", "service_name: a\nhttp: {listen: '${PORT}'}", "lightbus.yaml:2:16", "only where it runs"),
        ("kubernetes", "service_name: a", "lightbus.yaml:1:1", "write url: ${REDIS_URL}"),
        (
            "kubernetes",
            "service_name: a\nbus: {redis: {embedded: true}}",
            "lightbus.yaml:2:25",
            "write embedded: false",
        ),
        ("keda", "service_name: a\nbus: {redis: {url: 'redis://r'}}", "lightbus.yaml:1:1", "has none"),
        (
            "keda",
            "service_name: a\nbus: {redis: {url: 'unix:///run/r'}}\n"
            "listeners: {l: {events: [a.b], handler: 'b:c'}}",
            "lightbus.yaml:2:20",
            "a socket of one machine",
        ),
        (
            "keda",
            "service_name: a\nbus: {redis: {url: 'redis://r'}}\n"
            "apis: {a: {event_transport: {redis: {stream_use: per_event}}}}\n"
            "listeners: {l: {events: [a.*], handler: 'b:c'}}",
            "lightbus.yaml:4:25",
            "list the events",
        ),
        (
            "keda",
            "service_name: a\nbus: {redis: {url: 'redis://r'}}\n"
            "apis: {a: {event_transport: {memory: {}}}}\n"
            "listeners: {l: {events: [a.b], handler: 'b:c'}}",
            "lightbus.yaml:3:38",
            "by the transport memory",
        ),
    ],
)
def test_what_the_manifest_lacks_is_told_with_its_place_and_what_to_write(
    exporter: Exporter, target: str, manifest: str, place: str, what: str
) -> None:
    exporter.write(manifest)
    done = exporter.run(target)
    assert done.returncode == 78 and done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if what in line]
    assert line.startswith(f"{place}  ")


def test_variables_need_not_be_set_and_files_need_not_be_there(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    done = exporter.run("kubernetes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "# bus.redis.password, lightbus.yaml:8\n" in done.stdout


def test_without_a_folder_all_files_are_printed(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    assert exporter.run("docker").stdout.count("# Written by: lightbus export docker\n") == 2


def test_a_manifest_that_the_environment_names_is_named_in_the_command(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    (exporter.folder / "lightbus.yaml").rename(exporter.folder / "mine.yaml")
    assert "lightbus run -c mine.yaml\n" in exporter.run("systemd", LIGHTBUS_CONFIG="mine.yaml").stdout


@each_target
def test_the_manifest_of_the_example_is_written_for_all(
    exporter: Exporter, target: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "config", exporter.folder / "config")
    files = exporter.files(target, "-c", "config", "-c", "config/environments/production.yaml")
    assert any("config/environments/production.yaml" in text for text in files.values())
