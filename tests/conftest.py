"""Fixtures of every test: real servers, a proxy that misbehaves, real processes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn, Protocol

import pytest
from hypothesis import HealthCheck, settings

from lightbus.bus.modules import hosted
from lightbus.declared.registry import auto_registered
from tests.support.cluster import PATIENT, RedisCluster
from tests.support.processes import Process, lightbus_process
from tests.support.proxy import Proxy
from tests.support.servers import KINDS, WHERE_FROM, Kind, Server, ServerPool, find_binary, server_pool
from tests.support.several import Several, as_cluster, behind_sentinel


class StartServer(Protocol):
    """What the fixture `start_server` gives."""

    def __call__(
        self,
        kind: Kind = "valkey",
        *,
        aof: bool = False,
        password: str | None = None,
        args: tuple[str, ...] = (),
    ) -> Server:
        """Start a server for this test alone."""
        ...


class StartCluster(Protocol):
    """What the fixture `start_cluster` gives."""

    def __call__(
        self,
        kind: Kind = "valkey",
        *,
        primaries: int = 3,
        replicas: int = 1,
        aof: bool = False,
        password: str | None = None,
        args: tuple[str, ...] = (),
    ) -> RedisCluster:
        """Start a cluster for this test alone."""
        ...


class RunLightbus(Protocol):
    """What the fixture `run_lightbus` gives."""

    def __call__(self, *args: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Process:
        """Start ``lightbus ARGS`` for this test."""
        ...


TESTS = Path(__file__).parent
#: Whether all variants are tried of which one or two show as much, which takes long; `make soak` does so.
IS_WHOLE = bool(os.environ.get("LIGHTBUS_TEST_WHOLE"))
#: The files that take longest begin first: at the end, all other processes would wait for one of them.
LONGEST = (
    "host/test_signals.py",
    "wire/test_renaming.py",
    "permissions/test_hosts.py",
    "faults/test_failovers.py",
    "commands/test_every_command.py",
    "host/test_reloading.py",
    "faults/test_campaign.py",
    "faults/test_beside_others.py",
    "faults/test_planted.py",
    "docs/test_pages.py",
    "host/test_refusals.py",
    "host/test_tasks.py",
    "web/test_dead.py",
    "web/test_browser.py",
    "commands/test_status.py",
    "website/test_pictures.py",
)


# A busy machine is no fault of what it tests.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, and all others in their order."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine functions as tests."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a test registers or hosts is there for all tests after it: `auto_register = False`, or `bench`."""
    before, host = auto_registered.names(), hosted.current()
    yield
    left = auto_registered.names()
    assert left == before
    assert hosted.current() is host


def missing(what: str) -> NoReturn:
    """Skip a test that needs what is not installed; in CI everything must be."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def require(kind: Kind) -> None:
    """Skip a test whose server is not installed."""
    if find_binary(kind) is None:
        missing(f"no server for {kind!r}: install {WHERE_FROM[kind]}")


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerPool]:
    """One server per kind for the whole session."""
    with server_pool() as pool:
        yield pool


@pytest.fixture
def redis_server(servers: ServerPool) -> Server:
    """The embedded Valkey, empty."""
    return servers.clean("valkey")


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The url of the embedded Valkey, empty."""
    return redis_server.url


@pytest.fixture(params=KINDS)
def any_redis(request: pytest.FixtureRequest, servers: ServerPool) -> Server:
    """Each kind of server in turn, empty."""
    kind: Kind = request.param
    require(kind)
    return servers.clean(kind)


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers for this test alone: with a password, with a disk, to be killed."""
    with contextlib.ExitStack() as started:

        def start(
            kind: Kind = "valkey",
            *,
            aof: bool = False,
            password: str | None = None,
            args: tuple[str, ...] = (),
        ) -> Server:
            require(kind)
            return started.enter_context(Server(kind, aof=aof, password=password, args=args))

        yield start


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[RedisCluster]:
    """Three primaries with a replica each, for the whole session; no test may kill or freeze a node of it."""
    require("valkey")
    with RedisCluster(node_timeout=PATIENT) as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """The shared cluster, whole and empty. Its slots may be moved, and its replicas asked to take over."""
    shared_cluster.clean()
    return shared_cluster


@pytest.fixture(params=["cluster", "sentinel"])
def several(request: pytest.FixtureRequest, tmp_path: Path, servers: ServerPool) -> Iterator[Several]:
    """A cluster, and a server behind a Sentinel; empty."""
    if request.param == "cluster":
        yield as_cluster(request.getfixturevalue("redis_cluster"))
        return
    require("valkey")
    with behind_sentinel(servers.clean("valkey"), tmp_path) as sentinel:
        yield sentinel


@pytest.fixture
def start_cluster() -> Iterator[StartCluster]:
    """Starts clusters for this test alone, which takes some three seconds each: to be killed and frozen."""
    with contextlib.ExitStack() as started:

        def start(
            kind: Kind = "valkey",
            *,
            primaries: int = 3,
            replicas: int = 1,
            aof: bool = False,
            password: str | None = None,
            args: tuple[str, ...] = (),
        ) -> RedisCluster:
            require(kind)
            cluster = RedisCluster(
                kind, primaries=primaries, replicas=replicas, aof=aof, password=password, args=args
            )
            return started.enter_context(cluster)

        yield start


@pytest.fixture
def proxy(redis_server: Server) -> Iterator[Proxy]:
    """A proxy in front of the embedded Valkey (which is empty)."""
    with Proxy(redis_server.port) as between:
        yield between


@pytest.fixture
def run_lightbus() -> Iterator[RunLightbus]:
    """Starts ``python -m lightbus ARGS`` processes, and ends them after the test."""
    with contextlib.ExitStack() as started:

        def run(*args: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Process:
            return started.enter_context(lightbus_process(*args, cwd=cwd, env=env))

        yield run
