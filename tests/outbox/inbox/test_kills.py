"""Hosts that are killed at every statement of an inbox's transaction: each event has its effects once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.databases import PACKAGES, DatabaseKind, Databases, is_installed
from tests.support.processes import clean_environment
from tests.support.servers import Server
from tests.support.zygote import Zygote

from .campaign import IMPORTS, Campaign, Library
from .till import POINTS

# On a busy machine, twenty hosts take their time.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Starts the hosts of this module; it imports what they need once."""
    with closing(Zygote(clean_environment(), IMPORTS)) as it:
        yield it


def campaign(
    kind: DatabaseKind,
    library: Library,
    databases: Databases,
    redis: Server,
    zygote: Zygote,
    folder: Path,
    *,
    has_inbox: bool = True,
) -> Campaign:
    if not is_installed(kind):
        missing(f"no {kind}: install Debian's package {PACKAGES[kind]}")
    return Campaign(kind, library, databases, redis, zygote, folder, has_inbox=has_inbox)


@pytest.mark.parametrize(
    ("kind", "library", "points"),
    [
        ("postgresql", "django", POINTS),
        # Every point of these, too, is in `make soak`.
        ("mariadb", "sqlalchemy", ("noted", "committed")),
        ("sqlite", "asyncio", ("written", "committed")),
    ],
)
def test_the_balance_is_exact_though_hosts_are_killed_at_each_statement(
    databases: Databases,
    redis_server: Server,
    zygote: Zygote,
    tmp_path: Path,
    kind: DatabaseKind,
    library: Library,
    points: tuple[str, ...],
) -> None:
    with closing(campaign(kind, library, databases, redis_server, zygote, tmp_path)) as it:
        outcome = it.run(20, [(point, 1 + at) for at, point in enumerate(points)])
    assert outcome.is_good, outcome


def test_without_an_inbox_one_kill_after_a_commit_is_seen(
    databases: Databases, redis_server: Server, zygote: Zygote, tmp_path: Path
) -> None:
    it = campaign("sqlite", "django", databases, redis_server, zygote, tmp_path, has_inbox=False)
    with closing(it):
        outcome = it.run(10, [("committed", 3)], times=1)
    assert outcome.balance > outcome.wanted
