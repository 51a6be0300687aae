"""A cluster in the manifest: what it takes the place of, and what can't stand beside it."""

from __future__ import annotations

import pytest

import lightbus
from lightbus.options import Secret

from .conftest import Folder


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "bus: {redis: {cluster: {nodes: ['a:1']}, sentinel: {service: m, nodes: ['b:1']}}}",
            "bus.redis.sentinel: a cluster replaces its primaries by itself",
        ),
        (
            "bus: {redis: {url: 'redis+cluster://a:1', sentinel: {service: m, nodes: ['b:1']}}}",
            "bus.redis.sentinel: a cluster replaces its primaries by itself",
        ),
        (
            "bus: {redis: {cluster: {nodes: ['a:1']}, url: 'redis://b:1/0'}}",
            "bus.redis.cluster: its nodes say where Redis is, and so does the url",
        ),
        (
            "bus: {redis: {cluster: {nodes: ['a:1']}, url: 'unix:///r.sock'}}",
            "bus.redis.cluster: its nodes say where Redis is, and so does the url",
        ),
        ("bus: {redis: {cluster: {nodes: ['a:1']}, embedded: true}}", "bus.redis.embedded: a Redis of the"),
        ("bus: {redis: {cluster: {nodes: []}}}", "bus.redis.cluster: it names no node to begin with"),
        ("bus: {redis: {cluster: {}}}", "bus.redis.cluster: lacks the key nodes"),
        ("bus: {redis: {cluster: {nodes: [a]}}}", "bus.redis.cluster.nodes[0]: must be host:port"),
        ("bus: {redis: {url: 'redis+cluster://a:1/2'}}", "bus.redis.url: must be a URL"),
        (
            "apis: {a: {event_transport: {redis: {cluster: {nodes: ['a:1']}, url: 'redis://b:1'}}}}",
            "apis.a.event_transport.redis.cluster: its nodes say",
        ),
    ],
)  # fmt: skip
def test_what_can_not_stand_beside_a_cluster_is_told_with_its_place(
    folder: Folder, text: str, told: str
) -> None:
    problems = folder.problems(text)
    assert any(told in p for p in problems), problems


def test_saying_where_redis_is_takes_the_place_of_a_cluster_beneath_and_the_other_way_round(
    folder: Folder,
) -> None:
    manifest = folder.read(
        """
        bus: {redis: {cluster: {nodes: ["c1:1", "c2:2"]}, username: u, password: p}}
        apis:
          kept: {}
          alone: {redis: {url: "redis://other:1/0"}}
          watched: {redis: {sentinel: {service: m, nodes: ["s:1"]}}}
        """
    )
    kept, alone, watched = (manifest.apis[n].redis for n in ("kept", "alone", "watched"))
    assert kept.seeds == ("c1:1", "c2:2") and kept.password == Secret("p")
    assert not alone.is_cluster and not watched.is_cluster
    for beneath in ("url: 'redis://a:1/0'", "sentinel: {service: m, nodes: ['s:1']}", "url: 'unix:///r'"):
        manifest = folder.read(
            f"bus: {{redis: {{{beneath}}}}}\napis: {{spread: {{redis: {{cluster: {{nodes: ['c1:1']}}}}}}}}"
        )
        assert manifest.apis["spread"].redis.seeds == ("c1:1",)
    assert manifest.redis_configured
    manifest = folder.read(
        """
        bus: {redis: {url: "redis+cluster://c1:1"}}
        apis: {watched: {redis: {sentinel: {service: m, nodes: ["s:1"]}}}}
        """
    )
    assert manifest.bus.redis.is_cluster
    assert not manifest.apis["watched"].redis.is_cluster


def test_create_takes_the_url_of_a_cluster() -> None:
    bus = lightbus.create("redis+cluster://c1:6379,c2:6380", service_name="web")
    assert "cluster (c1:6379, c2:6380)" in repr(bus)
