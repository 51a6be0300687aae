"""Options that concern a whole process, or how it gets to its Redis."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.manifest.load import load
from lightbus.transports.redis.schema import RedisSchemaTransport
from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, find_binary, free_port

#: The library leaves connections open whose handshake failed.
LEFT_OPEN = "ignore::pytest.PytestUnraisableExceptionWarning"

MODULE = """
import asyncio, lightbus, logging, time

class A(lightbus.Api):
    class Meta:
        name = "a"

    async def loop(self) -> str:
        return type(asyncio.get_running_loop()).__module__.split(".")[0]

    def doze(self, seconds: float) -> None:
        print("dozing", flush=True)
        time.sleep(seconds)
        print("awake", flush=True)
"""


@pytest.fixture
def shop(project: Project, redis_server: Server) -> Project:
    project.write("bus.py", MODULE)
    project.write("lightbus.yaml", f"bus: {{redis: {{url: '{redis_server.url}'}}}}")
    del project.env["LIGHTBUS__BUS__LOG_FORMAT"]
    return project


def test_log_level_and_format_and_event_loop_and_modules(shop: Project) -> None:
    shop.write("other.py", "print('other was imported', flush=True)\n")
    plain = shop.host("--set", "bus.log_format=json")
    assert json.loads(plain.output().splitlines()[0])["level"] == "info"
    assert shop.call("a.loop") == "uvloop"
    plain.terminate()
    sets = ["bus.log_format=text", "event_loop=asyncio", "modules=bus,other", "bus.log_level=info"]
    host = shop.host(*(word for each in sets for word in ("--set", each)))
    assert " info     ready: " in host.output() and "other was imported" in host.output()
    assert shop.call("a.loop") == "asyncio"
    quiet = shop.start("run", "--set", "bus.log_level=error", "--set", "modules=bus,other")
    quiet.wait_for_line("other was imported")
    assert quiet.terminate() == 0 and "ready: " not in quiet.output()


def test_the_format_that_run_is_asked_for_is_stronger_than_the_manifest(shop: Project) -> None:
    shop.env["LIGHTBUS__BUS__LOG_FORMAT"] = "json"
    assert " info     ready: " in shop.host("--log-format", "text").output()
    shop.env["LIGHTBUS__BUS__LOG_FORMAT"] = "text"
    host = shop.host("--log-format", "json")
    assert all("time" in json.loads(line) for line in host.output().splitlines())


def test_help_says_which_format_it_takes_by_itself(shop: Project) -> None:
    said = " ".join(shop.run("run", "--help").stdout.split())
    assert "--log-format [text|json]" in said and "text on a terminal and JSON elsewhere" in said


@pytest.mark.parametrize(("timeout", "finishes"), [("100ms", False), ("20s", True)])
def test_what_runs_has_as_long_as_the_manifest_says(shop: Project, timeout: str, finishes: bool) -> None:
    host = shop.host("--set", f"bus.drain_timeout={timeout}", "--set", "bus.log_format=text")
    shop.start("call", "a.doze", f"seconds={1 if finishes else 60}")
    host.wait_for_line("dozing")
    host.terminate()
    assert ("awake" in host.output()) is finishes


# Getting to Redis


def ping(text: str, folder: Path) -> str:
    """Connect as the manifest says; returns what went wrong."""
    (folder / "lightbus.yaml").write_text(text)
    manifest = load(["lightbus.yaml"], cwd=folder, environ={})

    async def run() -> str:
        transport = RedisSchemaTransport(manifest.bus.schema.transport.options)
        try:
            await transport.open()
        except TransportUnavailable as e:
            return str(e)
        finally:
            await transport.close()
        return ""

    try:
        return asyncio.run(run())
    finally:
        # What the library left open is complained of here, where that is expected, and not later on.
        gc.collect()


def test_a_user_of_its_own(tmp_path: Path, start_server: StartServer) -> None:
    server = start_server()
    server.execute("ACL", "SETUSER", "shop", "on", ">word", "~*", "&*", "+@all")
    server.execute("ACL", "SETUSER", "default", "off")
    url = f"redis://127.0.0.1:{server.port}/0"
    assert ping(f"bus: {{redis: {{url: '{url}', username: shop, password: word}}}}", tmp_path) == ""
    assert "refused the password or user" in ping(
        f"bus: {{redis: {{url: '{url}', username: other, password: word}}}}", tmp_path
    )


@pytest.mark.parametrize("timeout", ["100ms", "500ms"])
def test_a_server_that_says_nothing_is_given_up_in_time(tmp_path: Path, timeout: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        told = ping(f"bus: {{redis: {{url: '{url}', connect_timeout: {timeout}}}}}", tmp_path)
    seconds = int(timeout[:-2]) / 1000
    assert "can't be reached" in told and f"no answer within {seconds:g} s" in told
    assert time.monotonic() - started >= seconds


@pytest.fixture
def tls_port(certificates: Path, redis_server: Server) -> Iterator[int]:
    """Redis behind TLS that asks for the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "client.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                client = context.wrap_socket(raw, server_side=True)
            except OSError:
                raw.close()
                continue
            redis = socket.create_connection(("127.0.0.1", redis_server.port))
            for pair in ((client, redis), (redis, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.mark.parametrize(
    ("tls", "host", "works"),
    [
        ("{ca_file: server.pem, cert_file: client.pem, key_file: client.key}", "localhost", True),
        ("{cert_file: client.pem, key_file: client.key}", "localhost", False),
        ("{ca_file: server.pem, cert_file: client.pem, key_file: client.key}", "127.0.0.1", False),
        ("{verify: false, cert_file: client.pem, key_file: client.key}", "127.0.0.1", True),
    ],
)
@pytest.mark.filterwarnings(LEFT_OPEN)
def test_tls_with_an_authority_and_a_certificate(
    certificates: Path, tls_port: int, monkeypatch: pytest.MonkeyPatch, tls: str, host: str, works: bool
) -> None:
    monkeypatch.chdir(certificates)
    said = ping(
        f"bus: {{redis: {{url: 'redis://{host}:{tls_port}/0', connect_timeout: 30s, tls: {tls}}}}}",
        certificates,
    )
    assert (said == "") is works, said


@pytest.fixture
def sentinel(tmp_path: Path, redis_server: Server) -> Iterator[int]:
    """A Sentinel with a password that watches the Redis as ``main``."""
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nrequirepass guard\n"
        f"sentinel monitor main 127.0.0.1 {redis_server.port} 1\n"
    )
    process = subprocess.Popen(
        [str(find_binary("valkey")), str(tmp_path / "sentinel.conf"), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(answers)
    yield port
    process.kill()
    process.wait()


@pytest.mark.filterwarnings(LEFT_OPEN)
def test_sentinel_is_asked_where_the_primary_is(tmp_path: Path, sentinel: int) -> None:
    def said(service: str, password: str, more: str = "") -> str:
        nodes = f'["127.0.0.1:{sentinel}"]'
        options = f"{{service: {service}, nodes: {nodes}, password: {password}{more}}}"
        return ping(f"bus: {{redis: {{sentinel: {options}}}}}", tmp_path)

    assert said("main", "guard") == ""
    assert said("main", "guard", ", username: default") == ""
    assert said("other", "guard") != ""
    assert said("main", "wrong") != ""
    assert said("main", "guard", ", username: nobody") != ""
