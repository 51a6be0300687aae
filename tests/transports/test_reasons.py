"""Why there is no connection: what client and server misunderstand is told in the right words."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

import lightbus
from lightbus.exceptions import TransportUnavailable
from lightbus.options import SecretUrl
from lightbus.transports.redis.link.connection import Connector, LinkBroken
from lightbus.transports.redis.link.reaching import reasons
from lightbus.transports.redis.options import (
    ClusterOptions,
    HostPort,
    RedisOptions,
    SentinelOptions,
    TlsOptions,
)
from tests.conftest import StartServer, missing, require
from tests.support.servers import Server, free_port


class Tls:
    """A server that asks for certificates at its TLS port and has a plain port, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.make("server", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        self.make("client", "/CN=shop")
        self.make("stranger", "/CN=nobody")
        (folder / "junk.pem").write_text("junk")
        names = {"cert": "server.pem", "key": "server.key", "ca-cert": "client.pem"}
        files = [word for key, name in names.items() for word in (f"--tls-{key}-file", str(folder / name))]
        self.server = Server("redis7", args=("--tls-port", str(self.port), *files))

    def make(self, name: str, subject: str, *more: str) -> None:
        """Make a certificate that signs itself."""
        kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, *more]
        files = ["-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.pem")]
        subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)

    def options(self, **names: str) -> TlsOptions:
        """TLS with the server's own certificate as authority and the client's, unless others are named."""
        chosen = {"ca": "server.pem", "cert": "client.pem", "key": "client.key", **names}
        paths: dict[str, Any] = {f"{k}_file": str(self.folder / name) for k, name in chosen.items() if name}
        return TlsOptions(**paths)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer to find out what listens at a port; none of these says nothing."""
    monkeypatch.setattr(reasons, "_ASKING", 60.0)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    if shutil.which("openssl") is None:
        missing("no openssl to make certificates")
    require("redis7")
    it = Tls(tmp_path_factory.mktemp("tls"))
    yield it
    it.server.close()


def reason(url: str, tls: TlsOptions | None = None, timeout: float = 30) -> str:
    """Why there is no connection; empty where there is one."""
    options: dict[str, Any] = {"url": SecretUrl(url), "tls": tls, "connect_timeout": timeout}

    async def connect() -> str:
        try:
            wire = await Connector(RedisOptions(**options)).connect()
        except TransportUnavailable as e:
            return str(e)
        await wire.close()
        # TLS ends with words of both sides.
        with contextlib.suppress(LinkBroken):
            await wire.lost()
        return ""

    try:
        return asyncio.run(connect())
    finally:
        gc.collect()  # A connection that was left open is an error of the test that has left it.


@pytest.mark.parametrize(
    ("host", "names", "told"),
    [
        ("127.0.0.1", {}, "its certificate names other hosts; write one of them in bus.redis.url"),
        (
            "localhost",
            {"ca": ""},
            "is not trusted here; give its issuer's certificate as bus.redis.tls.ca_file",
        ),
        ("localhost", {"ca": "junk.pem"}, "tls.ca_file holds no certificate"),
        ("localhost", {"key": "stranger.key"}, "tls.key_file is not the key of the certificate"),
        (
            "localhost",
            {"cert": "stranger.pem", "key": "stranger.key"},
            "bus.redis.tls.cert_file and key_file",
        ),
        ("localhost", {"cert": "", "key": ""}, "bus.redis.tls.cert_file and key_file"),
    ],
)
def test_each_fault_of_tls_is_told_for_what_it_is(
    tls: Tls, host: str, names: dict[str, str], told: str
) -> None:
    said = reason(f"rediss://{host}:{tls.port}", tls.options(**names))
    assert told in said and "start it" not in said and "_ssl.c" not in said


def test_tls_with_the_right_certificates_connects(tls: Tls) -> None:
    assert reason(f"rediss://localhost:{tls.port}", tls.options()) == ""


def test_tls_at_a_plain_port_is_told(tls: Tls) -> None:
    said = reason(f"rediss://127.0.0.1:{tls.server.port}", tls.options())
    assert "speaks no TLS there; write redis://" in said and "start it" not in said


def test_tls_at_a_plain_port_is_told_before_firing_gives_up(tls: Tls) -> None:
    class Shop(lightbus.Api):
        sold = lightbus.Event()

        class Meta:
            name = "shop"
            auto_register = False

    url = f"rediss://127.0.0.1:{tls.server.port}/0"
    with lightbus.create(url, service_name="shop") as bus:
        bus.client.register_api(Shop())
        with pytest.raises(TransportUnavailable, match="it speaks no TLS there; write redis://"):
            bus.shop.sold.fire()


@pytest.mark.parametrize("login", ["", "user:pass@"])
def test_no_tls_at_a_port_of_tls_is_told(tls: Tls, login: str) -> None:
    said = reason(f"redis://{login}127.0.0.1:{tls.port}")
    assert "speaks TLS there; write rediss://" in said and "start it" not in said


@pytest.mark.parametrize("login", ["", "user:pass@"])
def test_a_server_that_is_full_of_clients_is_not_called_unreachable(
    start_server: StartServer, login: str
) -> None:
    server = start_server(args=("--maxclients", "1"))

    async def one_too_many() -> None:
        wire = await Connector(RedisOptions(url=SecretUrl(server.url))).connect()
        try:
            await Connector(RedisOptions(url=SecretUrl(server.url.replace("//", f"//{login}")))).connect()
        finally:
            await wire.close()

    with pytest.raises(TransportUnavailable, match="has as many connections as it takes") as refused:
        asyncio.run(one_too_many())
    assert "can't be reached" not in str(refused.value)


def test_a_host_that_is_not_known_can_not_be_started() -> None:
    said = reason("redis://nowhere.invalid:6379")
    assert "correct the host in bus.redis.url" in said and "start it" not in said


def test_a_port_where_nobody_listens_can_be_helped_by_starting_one() -> None:
    assert "start it, or say where it is" in reason(f"redis://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("sentinel", [False, True], ids=["of Redis", "of a Sentinel"])
def test_a_connection_that_is_cancelled_while_a_name_is_looked_up_leaves_no_error_behind(
    factory: Callable[[], asyncio.AbstractEventLoop], sentinel: bool
) -> None:
    async def work() -> None:
        left: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: left.append(context["message"]))
        options = RedisOptions(url=SecretUrl("redis://nowhere.invalid:6379/0"))
        if sentinel:
            node = HostPort("nowhere.invalid:26379")
            options = RedisOptions(sentinel=SentinelOptions(service="main", nodes=(node,)))
        for steps in range(1, 6):
            connecting = asyncio.create_task(Connector(options).connect())
            for _ in range(steps):
                await asyncio.sleep(0)
            # On a busy machine, the name may have been found not to be there by now.
            is_answered = connecting.done()
            connecting.cancel()
            await asyncio.wait([connecting])
            assert connecting.cancelled() or (is_answered and connecting.exception())
            del connecting
            # The one that follows is answered after the one that was given up.
            with pytest.raises(OSError):
                await loop.getaddrinfo("nowhere.invalid", 6379)
            await asyncio.sleep(0)
            gc.collect()
        assert left == []

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


@pytest.mark.parametrize("is_url", [True, False])
async def test_of_a_node_of_a_cluster_the_remedy_names_what_names_its_nodes(tls: Tls, is_url: bool) -> None:
    async def reason(port: int, *, is_secure: bool = False) -> str:
        node = HostPort(f"127.0.0.1:{port}")
        given: dict[str, Any] = {"tls": TlsOptions()} if is_secure else {}
        if is_url:
            given["url"] = SecretUrl(f"redis+cluster://{node}")
        else:
            given["cluster"] = ClusterOptions(nodes=(node,))
        with pytest.raises(TransportUnavailable) as told:
            await Connector(RedisOptions(**given)).connect()
        return str(told.value).removeprefix(f"Redis at {node} can't be ")

    key = "bus.redis.url" if is_url else "bus.redis.cluster.nodes"
    assert await reason(free_port()) == (
        f"reached: nobody listens there; start it, or name other nodes in {key}"
    )
    secured = "write rediss+cluster:// in bus.redis.url" if is_url else "set bus.redis.tls, if only to {}"
    assert await reason(tls.port) == f"used: it speaks TLS there; {secured}"
    plain = "write redis+cluster:// in bus.redis.url and leave" if is_url else "leave"
    assert await reason(tls.server.port, is_secure=True) == (
        f"used: it speaks no TLS there; {plain} bus.redis.tls out, or name a TLS port"
    )
