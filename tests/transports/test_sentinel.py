"""Sentinel over TLS, what its nodes have said, and that its password is never sent without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.manifest.load import load
from lightbus.transports.redis.link.connection import Connector
from lightbus.transports.redis.options import RedisOptions
from tests.conftest import missing, require
from tests.support.certificates import can_make_certificates, make_certificate
from tests.support.eventually import eventually
from tests.support.servers import Server, find_binary, free_port

pytestmark = pytest.mark.filterwarnings(
    # The library leaves a connection open whose TLS handshake fails.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

PASSWORD = "guard-canary"


@pytest.fixture(autouse=True)
def nothing_is_left_for_the_next_test() -> Iterator[None]:
    yield
    gc.collect()


class House:
    """A Redis with a TLS port, and a Sentinel with a password that is asked by TLS alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("server", "stranger"):
            make_certificate(folder, name)
        files = [f"--tls-{key}-file {folder}/{name}" for key, name in FILES.items()]
        words = ["--tls-port", str(free_port()), *" ".join(files).split(), "--tls-auth-clients", "no"]
        self.redis = Server("redis7", args=tuple(words))
        self.tls_port, self.sentinel = int(words[1]), free_port()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port 0\ntls-port {self.sentinel}\nbind 127.0.0.1\ndir {folder}\nrequirepass {PASSWORD}\n"
            "tls-replication yes\ntls-auth-clients no\n"
            + "".join(f"tls-{key}-file {folder}/{name}\n" for key, name in FILES.items())
            + f"sentinel monitor main 127.0.0.1 {self.tls_port} 1\n"
        )
        command = [str(find_binary("redis7")), str(config), "--sentinel"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.sentinel)) == 0

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.redis.close()


FILES = {"cert": "server.pem", "key": "server.key", "ca-cert": "server.pem"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if not can_make_certificates():
        missing("no openssl to make certificates")
    require("redis7")
    with contextlib.closing(House(tmp_path_factory.mktemp("tls"))) as it:
        yield it


def options_of(sentinel: dict[str, Any], **redis: Any) -> RedisOptions:
    """What a manifest makes of the options of a Redis."""
    given = {"bus": {"redis": {"connect_timeout": "30s", "sentinel": sentinel, **redis}}}
    return load(create_arguments=given, look_around=False, environ={}).bus.redis


async def said(options: RedisOptions) -> str:
    """Why there is no connection; empty where there is one."""
    try:
        wire = await Connector(options).connect()
    except TransportUnavailable as e:
        assert PASSWORD not in str(e)
        return str(e)
    await wire.close()
    return ""


def at(*ports: int, **more: Any) -> dict[str, Any]:
    return {"service": "main", "nodes": [f"127.0.0.1:{p}" for p in ports], "password": PASSWORD, **more}


@contextlib.asynccontextmanager
async def listener(heard: bytearray, *, answers: bool = True) -> AsyncIterator[int]:
    """A port that keeps what is sent to it, and ends the connection then, or is silent."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4096))
        if not answers:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_sentinel_is_asked_by_tls_where_redis_is(house: House) -> None:
    ca = {"ca_file": f"{house.folder}/server.pem"}
    assert await said(options_of(at(house.sentinel), tls=ca)) == ""
    url = f"rediss://localhost/0?ssl_ca_certs={house.folder}/server.pem"
    assert await said(options_of(at(house.sentinel), url=url)) == ""


async def test_sentinel_may_have_certificates_of_its_own(house: House) -> None:
    own = at(house.sentinel, tls={"ca_file": f"{house.folder}/server.pem"})
    wrong = at(house.sentinel, tls={"ca_file": f"{house.folder}/stranger.pem"})
    unverified = at(house.sentinel, tls={"ca_file": f"{house.folder}/stranger.pem", "verify": False})
    tls = {"ca_file": f"{house.folder}/server.pem"}
    assert await said(options_of(own, tls=tls)) == ""
    assert await said(options_of(unverified, tls=tls)) == ""
    text = await said(options_of(wrong, tls=tls))
    assert (
        f"Sentinel at 127.0.0.1:{house.sentinel} can't be reached by TLS: certificate verify failed" in text
    )
    assert "as bus.redis.sentinel.tls.ca_file" in text
    shown = {"cert_file": f"{house.folder}/server.pem", "key_file": f"{house.folder}/nowhere.key"}
    text = await said(options_of(at(house.sentinel, tls=shown), tls=tls))
    assert "nowhere.key, its sentinel.tls.key_file, does not exist" in text


@pytest.mark.parametrize("where", ["redis", "url", "sentinel"])
async def test_with_tls_the_password_is_never_sent_in_clear_text(where: str) -> None:
    heard = bytearray()
    async with listener(heard) as port:
        if where == "redis":
            options = options_of(at(port), tls={})
        elif where == "url":
            options = options_of(at(port), url="rediss://localhost")
        else:
            options = options_of(at(port, tls={}))
        text = await said(options)
    # A TLS record with a handshake in it.
    assert heard[:2] == b"\x16\x03" and PASSWORD.encode() not in heard
    assert (
        f"Redis at sentinel main (127.0.0.1:{port})/0 can't be reached: Sentinel at 127.0.0.1:{port}" in text
    )


async def test_tls_may_be_left_out_for_sentinels_that_have_none() -> None:
    heard = bytearray()
    async with listener(heard) as port:
        await said(options_of(at(port, tls={"enabled": False}), tls={}))
    assert PASSWORD.encode() in heard


async def test_each_node_is_told_with_what_it_said(house: House) -> None:
    tls = {"ca_file": f"{house.folder}/server.pem"}
    nobody, heard = free_port(), bytearray()
    async with listener(heard, answers=False) as silent:
        nodes = at(nobody, silent, house.sentinel, service="other")
        # A fourth for each: the one that answers does so by TLS, on a machine that may be busy.
        text = await said(options_of(nodes, tls=tls, connect_timeout="12s"))
    assert "Redis at sentinel other (" in text
    assert f"Sentinel at 127.0.0.1:{nobody} can't be reached: " in text and "start it" not in text
    assert f"Sentinel at 127.0.0.1:{silent} can't be reached: no answer within 3 s" in text
    assert f"Sentinel at 127.0.0.1:{house.sentinel} knows no primary 'other', but main" in text
    wrong = {**at(house.sentinel), "password": "wrong"}
    assert f"Sentinel at 127.0.0.1:{house.sentinel} can't be used: " in await said(options_of(wrong, tls=tls))


async def test_a_node_that_is_silent_does_not_take_the_time_of_the_others(house: House) -> None:
    async with listener(bytearray(), answers=False) as silent:
        nodes = at(silent, house.sentinel, tls={"ca_file": f"{house.folder}/server.pem"})
        tls = {"ca_file": f"{house.folder}/server.pem"}
        assert await said(options_of(nodes, tls=tls, connect_timeout="9s")) == ""


async def test_a_primary_that_can_not_be_reached_is_named_beside_who_named_it(house: House) -> None:
    # Without TLS to Redis, the port that Sentinel names does not answer.
    options = options_of(at(house.sentinel, tls={"ca_file": f"{house.folder}/server.pem"}))
    text = await said(options)
    assert f"Redis at 127.0.0.1:{house.tls_port}, as sentinel main (127.0.0.1:" in text
    assert "it speaks TLS there" in text
