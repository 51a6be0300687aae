"""Relays that are killed while writers go on: what is committed is fired, once and in order."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.databases import PACKAGES, DatabaseKind, Databases, is_installed
from tests.support.servers import Server

from .campaign import Campaign
from .doors import NO_LEADER, DoorName


@pytest.mark.parametrize(
    ("kind", "door", "relays", "partitions"),
    [("postgresql", "sqlalchemy", 2, 3), ("mariadb", "django", 1, 1)],
    ids=lambda value: str(value),
)
def test_what_is_committed_is_fired_once_and_in_order_while_relays_are_killed(
    databases: Databases,
    redis_server: Server,
    tmp_path: Path,
    kind: DatabaseKind,
    door: DoorName,
    relays: int,
    partitions: int,
) -> None:
    if not is_installed(kind):
        missing(f"no {kind}: install Debian's package {PACKAGES[kind]}")
    campaign = Campaign(
        kind, databases, redis_server, tmp_path, door=door, seed=7, relays=relays, partitions=partitions
    )
    with closing(campaign):
        outcome = campaign.run(kills=3, writers=8, transactions=60)
    assert outcome.is_good and outcome.committed == 480, outcome


def test_the_campaign_sees_relays_of_which_none_leads(
    databases: Databases, redis_server: Server, tmp_path: Path
) -> None:
    if not is_installed("postgresql"):
        missing(f"no postgresql: install Debian's package {PACKAGES['postgresql']}")
    campaign = Campaign("postgresql", databases, redis_server, tmp_path, relays=2, plant=NO_LEADER, batch=20)
    with closing(campaign):
        outcome = campaign.run(kills=0, writers=8, transactions=40)
    assert outcome.out_of_order and outcome.fired > outcome.committed == 320, outcome
