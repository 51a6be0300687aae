"""Which test shows what each option of the reference does: none is without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.manifest.keys.forms import ROOT, Block, Named, OneOf, Plugins, keys_of
from lightbus.manifest.making.notes import WITHOUT_EFFECT
from lightbus.plugins.own_options import OWN_PLUGINS

TESTS = Path(__file__).parents[1]

OPTIONS, PROCESS = "host/test_options.py", "host/test_process_options.py"
SERIALIZERS = "host/test_serializers.py"
POLICIES, SUPERVISOR = "host/test_policies.py", "host/test_supervisor.py"
VALIDATION, PUBLISHING = "contracts/test_validation.py", "contracts/test_publishing.py"
EVENTS, LEASES, RPC = (f"transports/test_{name}.py" for name in ("redis_events", "leases", "redis_rpc"))
SENTINEL = "transports/test_sentinel.py"

#: Each option, by the class that declares it, with the file whose test changes it.
TABLE = {
    "Manifest": {
        "include": "manifest/test_layers.py",
        "service_name process_name features": OPTIONS,
        "service_version": "host/test_cards.py",
        "modules event_loop": PROCESS,
        "processes": SUPERVISOR,
        "django": "host/test_django.py",
        "calls strict_calls": "host/test_strict_calls.py",
    },
    "OutboxOptions": {
        "batch poll dedupe partitions keep": "outbox/test_relay.py",
        "notify": "outbox/test_notify.py",
        "django sqlalchemy": "outbox/test_host.py",
    },
    "BusOptions": {
        "log_level log_format drain_timeout": PROCESS,
        "expose_tracebacks": OPTIONS,
        "remote_control": "host/test_run_now.py",
    },
    "BusRedisOptions": {
        "url username password connect_timeout": PROCESS,
        "command_timeout": "transports/test_pipe.py",
        "embedded": SUPERVISOR,
        "waiting": "transports/cluster/test_bells.py",
    },
    "TlsOptions": {"ca_file cert_file key_file verify": PROCESS},
    "SentinelOptions": {"service nodes username password": PROCESS, "tls": SENTINEL},
    "ClusterOptions": {"nodes": "transports/cluster/test_options.py"},
    "SentinelTlsOptions": {"ca_file cert_file key_file verify enabled": SENTINEL},
    "ContractOptions": {"human_readable ttl": PUBLISHING},
    "ApiRecord": {
        "outbox": "outbox/test_django.py",
        "owner rpc_timeout event_fire_timeout event_listener_setup_timeout rpc_concurrency": OPTIONS,
        "strict_validation cast_values": VALIDATION,
    },
    "ValidateOptions": {"incoming outgoing": VALIDATION},
    "RedisRpcOptions": {
        "batch_size result_ttl": RPC,
        "serializer deserializer": SERIALIZERS,
        "rpc_timeout": OPTIONS,
        "consumption_restart_delay": "transports/test_redis_rpc_failures.py",
        "max_queue_length": "transports/test_queue_full.py",
        "rpc_retry_delay": "host/test_retry_delay.py",
    },
    "RedisResultOptions": {
        "result_ttl": "manifest/test_lightbus_1x.py",
        "serializer deserializer": SERIALIZERS,
    },
    "RedisEventOptions": {
        "serializer deserializer": SERIALIZERS,
        "batch_size stream_use consumer_ttl service_name consumer_name": EVENTS,
        "reclaim_batch_size reclaim_interval acknowledgement_timeout": LEASES,
        "max_stream_length when_full": "transports/test_retention.py",
        "consumption_restart_delay": "transports/test_redis_events_failures.py",
        "replicas_before_confirmed replicas_timeout": "transports/test_replicas.py",
    },
    "Policy": {"attempts then give_up_on max_deaths extends": POLICIES},
    "Backoff": {"initial factor max jitter": POLICIES},
    "ListenerOptions": {
        "events handler concurrency since enabled dedupe batch batch_wait": OPTIONS,
        "on_error": POLICIES,
        "renamed_from": "host/test_renamed_listeners.py",
        "inbox inbox_keep": "outbox/inbox/test_manifest.py",
    },
    "ScheduleOptions": {"every cron timezone call scope missed overlap": "host/test_schedules.py"},
    "InternalStateOptions": {"enabled ping_enabled ping_interval": "host/test_internal_events.py"},
    "InternalMetricsOptions": {"enabled": "host/test_internal_events.py"},
    "HttpOptions": {"listen blocked_after dead_after": "host/test_http.py"},
    "WebOptions": {
        "listen": "web/test_server.py",
        "hosts root_path": "web/test_guard.py",
        "auth token_file user_header trusted_proxies": "web/test_users.py",
        "tail_rate": "web/test_events.py",
        "bulk_limit": "web/test_dead.py",
        "refresh mask": "web/test_options.py",
        "allow roles role_header": "web/test_roles.py",
    },
    "TypesOptions": {
        "from out apis classes map": "commands/test_types.py",
        "own": "contracts/clients/test_own.py",
    },
    "TracingOptions": {"enabled": "host/test_tracing.py"},
}


def keys_with_values(block: Block, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Every option that takes a value, as the name of its class and its own."""
    name = block.cls.__name__
    if name in seen:
        return
    seen.add(name)
    for key in keys_of(block.cls).values():
        if isinstance(key.form, Block):
            yield from keys_with_values(key.form, seen)
        elif isinstance(key.form, Named) and isinstance(key.form.value, Block):
            yield from keys_with_values(key.form.value, seen)
        elif isinstance(key.form, OneOf):
            yield from keys_with_values(Block(key.form.options("redis") or type(None)), seen)
        elif isinstance(key.form, Plugins):
            for cls in OWN_PLUGINS.values():
                yield from keys_with_values(Block(cls), seen)
        else:
            yield name, key.name


def is_without_effect(cls: str, name: str) -> bool:
    """Told by a note, since nothing acts upon it."""
    noted = {path.rpartition(".")[2] for path in WITHOUT_EFFECT}
    return name in noted and cls in ("ConnectionParameters", "RedisResultOptions")


@pytest.mark.parametrize(
    ("cls", "name"), sorted(set(keys_with_values(ROOT, {"RedisOptions", "RedisSchemaOptions"})))
)
def test_an_option_has_a_test_that_changes_it(cls: str, name: str) -> None:
    if is_without_effect(cls, name):
        return
    inherited = {"RedisEventOptions", "RedisRpcOptions", "RedisResultOptions"}
    table = TABLE.get(cls, {})
    found = [file for names, file in table.items() if name in names.split()]
    if not found and cls in inherited:
        found = [file for names, file in TABLE["BusRedisOptions"].items() if name in names.split()]
    assert found, f"no test changes {cls}.{name}"
    assert name in (TESTS / found[0]).read_text()
