"""What is told of a group that nobody reads, and to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightbus.bus.groups import belongs, what_to_tell
from lightbus.transports.events import ConsumerStatus, GroupStatus
from lightbus.transports.unserved import remedy, state

OLD = GroupStatus("shop-old", "shop.*:stream", 0, True, 0, 0, 0, service="shop", limit=1_000)
BEHIND = replace(OLD, lag=1_461, pending=2)


def told(status: GroupStatus, service: str = "shop", *listeners: str) -> str | None:
    return what_to_tell(status, service, listeners, "in this process")


def test_a_service_is_told_of_its_group_that_has_no_listener() -> None:
    said = told(BEHIND, "shop", "new")
    assert said is not None
    assert said.startswith(
        "the group shop-old of the service shop has no listener in this process: 1,461 unread, 2 pending; no "
        "process reads it; shop.*:stream keeps all of that, and at 1,000 nothing more can be fired; start"
    )


def test_where_nothing_waits_it_says_what_will() -> None:
    assert "keeps all new events for it" in str(told(OLD))


def test_a_group_whose_listener_is_about_to_start_is_none_of_that() -> None:
    assert told(BEHIND, "shop", "old") is None


@pytest.mark.parametrize(("waiting", "is_told"), [(499, False), (500, True)])
def test_who_fires_is_told_of_other_services_only_before_the_stream_is_full(
    waiting: int, is_told: bool
) -> None:
    assert (told(replace(OLD, lag=waiting), "web") is not None) == is_told
    assert told(replace(OLD, lag=waiting, limit=None), "web") is None


def test_the_service_that_the_broker_knows_counts_before_the_name_of_the_group() -> None:
    group = replace(OLD, group="shop-web-mailer", service="shop-web")
    assert not belongs(group, "shop") and belongs(group, "shop-web")
    assert belongs(replace(group, service=""), "shop")
    assert not belongs(replace(group, service=""), "")


@pytest.mark.parametrize(
    ("consumers", "said"),
    [
        ((), "no process reads it"),
        ((ConsumerStatus("p1", 0, 7_300.0),), "no process has read it for 2 h"),
        ((ConsumerStatus("p1", 0, 7_300.0), ConsumerStatus("p2", 0, 1.0)), "2 processes read it"),
        ((ConsumerStatus("p1", 0),), "p1 reads it"),
    ],
)
def test_who_reads_a_group_is_said(consumers: tuple[ConsumerStatus, ...], said: str) -> None:
    group = replace(BEHIND, consumers=consumers, lag_is_exact=False)
    assert state(group) == f"about 1,461 unread, 2 pending; {said}"


def test_a_group_that_is_read_needs_more_processes() -> None:
    assert remedy(replace(OLD, consumers=(ConsumerStatus("p1", 0, 1.0),))).startswith("start more processes")
