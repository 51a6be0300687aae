"""Configuration files of Lightbus 1.x: every key loads with its meaning, and every default is known."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Any

import pytest

from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import render
from lightbus.options import SecretUrl

from .conftest import Folder

EVENT = "api.event_transport.options."
RPC = "api.rpc_transport.options."
RESULT = "api.result_transport.options."


def nest(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split("/")):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def look(manifest: Manifest, path: str) -> Any:
    first, _, rest = path.partition(".")
    if first == "api":
        return attrgetter(rest)(manifest.apis["auth"])
    if first == "plugins":
        name, _, attribute = rest.partition(".")
        return getattr(manifest.plugins[name], attribute)
    return attrgetter(path)(manifest)


URL = SecretUrl("redis://other:6379/1")

KEYS: list[tuple[str, Any, str, Any]] = [
    ("service_name", "shop", "service_name", "shop"),
    ("process_name", "one", "process_name", "one"),
    ("bus/log_level", "debug", "bus.log_level", "debug"),
    ("bus/log_level", "critical", "bus.log_level", "critical"),
    ("bus/schema/human_readable", False, "bus.schema.human_readable", False),
    ("bus/schema/ttl", 30, "bus.schema.ttl", 30.0),
    ("bus/schema/transport/redis/url", "redis://other:6379/1", "bus.schema.transport.options.url", URL),
    ("apis/auth/rpc_timeout", 7, "api.rpc_timeout", 7.0),
    ("apis/auth/event_listener_setup_timeout", 2.5, "api.event_listener_setup_timeout", 2.5),
    ("apis/auth/event_fire_timeout", 3, "api.event_fire_timeout", 3.0),
    ("apis/auth/validate", False, "api.validate.incoming", False),
    ("apis/auth/validate", False, "api.validate.outgoing", False),
    ("apis/auth/validate/incoming", False, "api.validate.incoming", False),
    ("apis/auth/validate/outgoing", False, "api.validate.outgoing", False),
    ("apis/auth/strict_validation", True, "api.strict_validation", True),
    ("apis/auth/cast_values", False, "api.cast_values", False),
    ("apis/default/rpc_timeout", 7, "api.rpc_timeout", 7.0),
    ("apis/auth/event_transport/redis/url", "redis://other:6379/1", EVENT + "url", URL),
    (
        "apis/auth/event_transport/redis/connection_parameters/maxsize",
        7,
        EVENT + "connection_parameters.maxsize",
        7,
    ),
    ("apis/auth/event_transport/redis/batch_size", 20, EVENT + "batch_size", 20),
    ("apis/auth/event_transport/redis/reclaim_batch_size", 50, EVENT + "reclaim_batch_size", 50),
    ("apis/auth/event_transport/redis/serializer", "my.Serializer", EVENT + "serializer", "my.Serializer"),
    (
        "apis/auth/event_transport/redis/deserializer",
        "my.Deserializer",
        EVENT + "deserializer",
        "my.Deserializer",
    ),
    ("apis/auth/event_transport/redis/acknowledgement_timeout", 90, EVENT + "acknowledgement_timeout", 90.0),
    ("apis/auth/event_transport/redis/reclaim_interval", 45, EVENT + "reclaim_interval", 45.0),
    ("apis/auth/event_transport/redis/max_stream_length", 5000, EVENT + "max_stream_length", 5000),
    ("apis/auth/event_transport/redis/max_stream_length", None, EVENT + "max_stream_length", None),
    ("apis/auth/event_transport/redis/stream_use", "per_event", EVENT + "stream_use", "per_event"),
    (
        "apis/auth/event_transport/redis/consumption_restart_delay",
        1,
        EVENT + "consumption_restart_delay",
        1.0,
    ),
    ("apis/auth/event_transport/redis/consumer_ttl", 60, EVENT + "consumer_ttl", 60.0),
    ("apis/auth/event_transport/redis/service_name", "s", EVENT + "service_name", "s"),
    ("apis/auth/event_transport/redis/consumer_name", "c", EVENT + "consumer_name", "c"),
    ("apis/auth/rpc_transport/redis/url", "redis://other:6379/1", RPC + "url", URL),
    (
        "apis/auth/rpc_transport/redis/connection_parameters/maxsize",
        7,
        RPC + "connection_parameters.maxsize",
        7,
    ),
    ("apis/auth/rpc_transport/redis/batch_size", 20, RPC + "batch_size", 20),
    ("apis/auth/rpc_transport/redis/serializer", "my.Serializer", RPC + "serializer", "my.Serializer"),
    (
        "apis/auth/rpc_transport/redis/deserializer",
        "my.Deserializer",
        RPC + "deserializer",
        "my.Deserializer",
    ),
    ("apis/auth/rpc_transport/redis/rpc_timeout", 9, RPC + "rpc_timeout", 9.0),
    ("apis/auth/rpc_transport/redis/rpc_retry_delay", 2, RPC + "rpc_retry_delay", 2.0),
    ("apis/auth/rpc_transport/redis/consumption_restart_delay", 1, RPC + "consumption_restart_delay", 1.0),
    ("apis/auth/result_transport/redis/url", "redis://other:6379/1", RESULT + "url", URL),
    ("apis/auth/result_transport/redis/serializer", "my.Serializer", RESULT + "serializer", "my.Serializer"),
    ("apis/auth/result_transport/redis/deserializer", "my.Deserial", RESULT + "deserializer", "my.Deserial"),
    (
        "apis/auth/result_transport/redis/connection_parameters/maxsize",
        7,
        RESULT + "connection_parameters.maxsize",
        7,
    ),
    ("apis/auth/result_transport/redis/result_ttl", 5, RESULT + "result_ttl", 5.0),
    ("apis/auth/result_transport/redis/result_ttl", 5, RPC + "result_ttl", 5.0),
    ("apis/default/result_transport/redis/result_ttl", 5, RPC + "result_ttl", 5.0),
    ("apis/auth/result_transport/redis/rpc_timeout", 9, RESULT + "rpc_timeout", 9.0),
    ("plugins/internal_state/enabled", True, "plugins.internal_state.enabled", True),
    ("plugins/internal_state/ping_enabled", False, "plugins.internal_state.ping_enabled", False),
    ("plugins/internal_state/ping_interval", 5, "plugins.internal_state.ping_interval", 5.0),
    ("plugins/internal_metrics/enabled", True, "plugins.internal_metrics.enabled", True),
]

DEFAULTS: list[tuple[str, Any]] = [
    ("bus.log_level", "info"),
    ("bus.schema.human_readable", True),
    ("bus.schema.ttl", 60.0),
    ("api.rpc_timeout", 5.0),
    ("api.event_listener_setup_timeout", 1.0),
    ("api.event_fire_timeout", 5.0),
    ("api.validate.incoming", True),
    ("api.validate.outgoing", True),
    ("api.strict_validation", False),
    ("api.cast_values", True),
    ("api.event_transport.name", "redis"),
    ("api.rpc_transport.name", "redis"),
    ("api.result_transport.name", "redis"),
    ("bus.schema.transport.name", "redis"),
    # None stands for redis://127.0.0.1:6379/0, so that it is known whether a URL was given.
    (EVENT + "url", None),
    (EVENT + "connection_parameters.maxsize", 100),
    (EVENT + "reclaim_batch_size", None),
    (EVENT + "serializer", "lightbus.serializers.ByFieldMessageSerializer"),
    (EVENT + "deserializer", "lightbus.serializers.ByFieldMessageDeserializer"),
    (EVENT + "max_stream_length", 100_000),
    (EVENT + "stream_use", "per_api"),
    (EVENT + "consumption_restart_delay", 5.0),
    (EVENT + "consumer_ttl", 2_592_000.0),
    (EVENT + "service_name", None),
    (EVENT + "consumer_name", None),
    (RPC + "url", None),
    (RPC + "connection_parameters.maxsize", 100),
    (RPC + "serializer", "lightbus.serializers.BlobMessageSerializer"),
    (RPC + "deserializer", "lightbus.serializers.BlobMessageDeserializer"),
    (RPC + "rpc_timeout", None),
    (RPC + "rpc_retry_delay", 1.0),
    (RPC + "consumption_restart_delay", 5.0),
    (RESULT + "serializer", "lightbus.serializers.BlobMessageSerializer"),
    (RESULT + "deserializer", "lightbus.serializers.BlobMessageDeserializer"),
    (RESULT + "connection_parameters.maxsize", 100),
    (RESULT + "result_ttl", 60.0),
    (RESULT + "rpc_timeout", None),
    ("plugins.internal_state.enabled", False),
    ("plugins.internal_state.ping_enabled", True),
    ("plugins.internal_state.ping_interval", 60.0),
    ("plugins.internal_metrics.enabled", False),
]

# Where these are better: a batch is a limit and not a wait, a lease is renewed, nothing is swept too late.
NEW_DEFAULTS: list[tuple[str, Any]] = [
    (EVENT + "batch_size", 100),
    (EVENT + "acknowledgement_timeout", 30.0),
    (EVENT + "reclaim_interval", None),
    (RPC + "batch_size", 100),
    ("service_name", None),
]


@pytest.mark.parametrize(
    ("key", "written", "path", "held"), KEYS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_key_of_1x_has_its_meaning(folder: Folder, key: str, written: Any, path: str, held: Any) -> None:
    document: dict[str, Any] = {"apis": {"auth": {}}} if not key.startswith("apis/auth") else {}
    document = {**document, **nest(key, written)}
    if key.startswith("apis/default"):
        document["apis"]["auth"] = {}
    assert look(folder.read(json.dumps(document)), path) == held


@pytest.mark.parametrize(("path", "default"), DEFAULTS + NEW_DEFAULTS)
def test_a_default_is_that_of_1x_or_better(folder: Folder, path: str, default: Any) -> None:
    assert look(folder.read("apis: {auth: {}}"), path) == default


def test_a_whole_file_of_1x_runs_unchanged(folder: Folder) -> None:
    manifest = folder.read(
        """
        bus:
          log_level: warning
          schema:
            human_readable: true
            ttl: 60
            transport:
              redis:
                url: "redis://redis.svc.cluster.local:6379/0"
        apis:
          default:
            event_transport: &events
              redis: {url: "redis://redis_host:6379/0", stream_use: per_event, max_stream_length: null}
            rpc_transport:
              redis: {url: "redis://redis_host:6379/0"}
            result_transport:
              redis: {url: "redis://redis_host:6379/0"}
          marketing.analytics:
            rpc_timeout: 10
            event_transport: *events
        plugins:
          internal_state: {enabled: false, ping_enabled: true, ping_interval: 60}
          internal_metrics: {enabled: false}
        """
    )
    record = manifest.apis["marketing.analytics"]
    assert record.event_transport.options.stream_use == "per_event"
    assert record.event_transport.options.max_stream_length is None
    assert str(record.rpc_transport.options.url) == "redis://redis_host:6379/0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "apis:\n  default: {rpc_timeout: 1}\n  auth: {}",
            "lightbus.yaml:2:3  note: apis.default: lies beneath",
        ),
        (
            "apis: {auth: {event_transport: {redis: {max_stream_length: 10}}}}",
            "events that a consumer group has not acknowledged are kept",
        ),
        ("apis: {auth: {event_transport: {redis: {batch_size: 10}}}}", "is a limit now"),
        ("apis: {auth: {rpc_transport: {redis: {batch_size: 10}}}}", "is a limit now"),
        (
            "apis: {auth: {event_transport: {redis: {acknowledgement_timeout: 10}}}}",
            "is renewed while a handler",
        ),
        (
            "bus: {redis: {connection_parameters: {maxsize: 5}}}",
            "bus.redis.connection_parameters.maxsize: has no effect: a process opens one connection",
        ),
        (
            "apis: {auth: {redis: {connection_parameters: {maxsize: 5}}}}",
            "apis.auth.redis.connection_parameters.maxsize: has no effect",
        ),
        (
            "apis: {auth: {result_transport: {debug: {}}}}",
            "result_transport.debug: has no effect: answers travel by the transport of calls",
        ),
        (
            "service_name: '{random4}'",
            "lightbus.yaml:1:15  warning: service_name: {random4} differs at each start",
        ),
    ],
)
def test_a_key_whose_meaning_changed_is_noted(folder: Folder, text: str, told: str) -> None:
    assert told in render(folder.read(text).notes)


def test_the_transport_debug_is_there(folder: Folder) -> None:
    kinds = ("rpc_transport", "event_transport", "result_transport")
    manifest = folder.read(f"apis: {{auth: {{{', '.join(f'{kind}: {{debug: {{}}}}' for kind in kinds)}}}}}")
    assert [getattr(manifest.apis["auth"], kind).name for kind in kinds] == ["debug"] * 3
    assert manifest.notes == ()
    manifest = folder.read("bus: {schema: {transport: {debug: {}}}}")
    assert (manifest.bus.schema.transport.name, manifest.notes) == ("debug", ())


def test_an_environment_that_wins_over_the_file_is_noted(folder: Folder) -> None:
    folder.environ["LIGHTBUS_SERVICE_NAME"] = "environment"
    notes = render(folder.read("service_name: file").notes)
    assert "service_name: wins over the one at lightbus.yaml:1:15; in Lightbus 1.x the file won" in notes


def test_a_manifest_without_such_keys_has_no_notes(folder: Folder) -> None:
    assert folder.read("service_name: a\napis: {a: {owner: a}}").notes == ()


@pytest.mark.parametrize("placeholder", ["hostname", "pid", "random4", "random8", "random16", "friendly"])
def test_a_placeholder_is_replaced(folder: Folder, placeholder: str) -> None:
    name = folder.read(f"process_name: 'a-{{{placeholder}}}-b'").process_name
    assert name.startswith("a-") and name.endswith("-b") and len(name) > 4 and "{" not in name
