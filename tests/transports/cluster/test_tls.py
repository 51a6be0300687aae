"""A cluster over TLS whose nodes call themselves by a name, since their certificate knows no address."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.manifest.load import load
from lightbus.transports.redis.inspection.asking import inspect
from lightbus.transports.redis.link.cluster.pipe import ClusterPipe
from lightbus.transports.redis.options import RedisOptions
from tests.conftest import missing, require
from tests.support.certificates import can_make_certificates, make_certificate
from tests.support.cluster import PATIENT, RedisCluster
from tests.support.node import slot_of

pytestmark = pytest.mark.filterwarnings(
    # The library leaves a connection open whose TLS handshake fails.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

KEYS = [f"key{n}" for n in range(12)]
PASSWORD = "cluster-canary"
NAMED = ("--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname")


@pytest.fixture(autouse=True)
def nothing_is_left_for_the_next_test() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not can_make_certificates():
        missing("no openssl to make certificates")
    folder = tmp_path_factory.mktemp("cluster-tls")
    make_certificate(folder, "server", names="DNS:localhost")
    make_certificate(folder, "stranger")
    return folder


@pytest.fixture(scope="module")
def secure(certificates: Path) -> Iterator[RedisCluster]:
    """Three primaries that are known by their name alone."""
    require("redis7")
    with RedisCluster(
        "redis7", replicas=0, password=PASSWORD, node_timeout=PATIENT, args=NAMED, tls=certificates
    ) as cluster:
        yield cluster


def options_of(cluster: RedisCluster, ca: Path, host: str = "localhost", **redis: Any) -> RedisOptions:
    """What a manifest makes of one node that is named by TLS."""
    nodes = [f"{host}:{cluster.nodes[0].tls_port}"]
    tls: Mapping[str, Any] = {"ca_file": str(ca)}
    given = {"cluster": {"nodes": nodes}, "tls": tls, "password": PASSWORD, "connect_timeout": "30s", **redis}
    return load(create_arguments={"bus": {"redis": given}}, look_around=False, environ={}).bus.redis


async def asked(options: RedisOptions) -> list[Any]:
    """Ask each primary for some keys that were set before."""
    pipe = ClusterPipe(options)
    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(pipe.send("SET", key, key) for key in KEYS))
            return await pipe.send_many([("GET", key) for key in KEYS])
    finally:
        await pipe.close()


async def test_each_primary_is_reached_by_tls_at_the_name_that_it_announces(
    secure: RedisCluster, certificates: Path
) -> None:
    assert await asked(options_of(secure, certificates / "server.pem")) == [key.encode() for key in KEYS]
    assert len({secure.owner(key) for key in KEYS}) == 3


async def test_a_url_says_the_same(secure: RedisCluster, certificates: Path) -> None:
    ca = f"?ssl_ca_certs={certificates}/server.pem"
    url = f"rediss+cluster://:{PASSWORD}@localhost:{secure.nodes[0].tls_port}{ca}"
    options = load(create_arguments={"bus": {"redis": {"url": url}}}, look_around=False, environ={}).bus.redis
    assert await asked(options) == [key.encode() for key in KEYS]


async def test_a_redirect_leads_by_tls_to_the_name_of_the_new_primary(
    secure: RedisCluster, certificates: Path
) -> None:
    pipe = ClusterPipe(options_of(secure, certificates / "server.pem"))
    slot = slot_of("key")
    source = secure.owner(slot)
    try:
        async with asyncio.timeout(60):
            assert await pipe.send("SET", "key", "here") == b"OK"
            with secure.moving(slot, secure.others(source)[0]):
                # Asked of the node to which it goes, as it is not here.
                assert await pipe.send("SET", "{key}:new", "there") == b"OK"
            assert await pipe.send_many([("GET", "key"), ("GET", "{key}:new")]) == [b"here", b"there"]
    finally:
        await pipe.close()


async def test_a_node_whose_certificate_nobody_knows_hears_no_password(
    secure: RedisCluster, certificates: Path
) -> None:
    with pytest.raises(TransportUnavailable, match="certificate verify failed"):
        await inspect(options_of(secure, certificates / "stranger.pem"), {}, (), 0)


async def test_an_address_is_not_the_name_that_the_certificate_has(
    secure: RedisCluster, certificates: Path
) -> None:
    with pytest.raises(TransportUnavailable, match=r"127\.0\.0\.1"):
        await inspect(options_of(secure, certificates / "server.pem", "127.0.0.1"), {}, (), 0)


async def test_check_looks_at_each_primary_by_tls(secure: RedisCluster, certificates: Path) -> None:
    found = await inspect(options_of(secure, certificates / "server.pem"), {}, (), 0)
    said = " ".join(finding.what for finding in found)
    assert all(f"localhost:{node.tls_port}" in said for node in secure.nodes), said
