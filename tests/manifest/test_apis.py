"""What lies beneath an API, and how one Redis is laid over another."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace

import pytest

from lightbus.declared.policy import DeliveryPolicy, OnError
from lightbus.manifest.keys import installed
from lightbus.options import Secret, SecretUrl
from lightbus.transports.redis.options import (
    DEFAULT_URL,
    RedisEventOptions,
    RedisRpcOptions,
    RedisSchemaOptions,
)

from .conftest import Folder


def url_of(options: RedisEventOptions) -> str:
    return options.url.reveal() if options.url else "none"


def test_the_redis_of_the_bus_lies_beneath_every_transport(folder: Folder) -> None:
    manifest = folder.read(
        "bus: {redis: {url: 'redis://bus:1/0', password: p, connect_timeout: 2s, embedded: false}}\n"
        "apis: {auth: {}}"
    )
    for record in (manifest.apis["auth"], manifest.api("unlisted")):
        for transport in (record.rpc_transport, record.event_transport, record.result_transport):
            assert url_of(transport.options) == "redis://bus:1/0"
            assert transport.options.password == Secret("p") and transport.options.connect_timeout == 2
    assert isinstance(manifest.apis["auth"].rpc_transport.options, RedisRpcOptions)
    contracts = manifest.bus.schema.transport.options
    assert isinstance(contracts, RedisSchemaOptions) and contracts.url == SecretUrl("redis://bus:1/0")
    assert manifest.bus.redis.embedded is False


def test_the_nearest_redis_wins(folder: Folder) -> None:
    manifest = folder.read(
        """
        bus: {redis: {url: "redis://bus:1/0", connect_timeout: 1s, command_timeout: 1s}}
        apis:
          default:
            redis: {url: "redis://default:1/0", command_timeout: 2s}
            event_transport: {redis: {url: "redis://default-events:1/0", batch_size: 7}}
          plain: {}
          own: {redis: {url: "redis://own:1/0"}}
          exact: {redis: {url: "redis://own:1/0"}, event_transport: {redis: {url: "redis://exact:1/0"}}}
        """
    )
    event = {name: record.event_transport.options for name, record in manifest.apis.items()}
    rpc = {name: record.rpc_transport.options for name, record in manifest.apis.items()}
    assert [url_of(event[n]) for n in ("plain", "own", "exact")] == [
        "redis://default-events:1/0",
        "redis://own:1/0",
        "redis://exact:1/0",
    ]
    assert [url_of(rpc[n]) for n in ("plain", "own", "exact")] == [
        "redis://default:1/0",
        "redis://own:1/0",
        "redis://own:1/0",
    ]
    assert {(o.connect_timeout, o.command_timeout, o.batch_size) for o in event.values()} == {(1, 2, 7)}


def test_a_url_takes_the_place_of_a_sentinel_and_a_user_beneath(folder: Folder) -> None:
    manifest = folder.read(
        """
        bus: {redis: {sentinel: {service: main, nodes: ["s1:26379"]}, username: u, password: p}}
        apis:
          kept: {}
          moved: {redis: {url: "redis://other:1/0"}}
          elsewhere: {redis: {url: "redis://me:mine@other:1/0"}}
        """
    )
    kept, moved, elsewhere = (manifest.apis[n].redis for n in ("kept", "moved", "elsewhere"))
    assert kept.sentinel is not None and kept.sentinel.nodes == ("s1:26379",)
    assert moved.sentinel is None and moved.password == Secret("p")
    assert elsewhere.username is None and elsewhere.password is None


def test_a_unix_socket_and_what_it_can_not_have_take_each_others_place(folder: Folder) -> None:
    manifest = folder.read(
        """
        bus: {redis: {url: "rediss://a:1/0", tls: {verify: false}}}
        apis:
          kept: {redis: {url: "rediss://b:1/0"}}
          local: {redis: {url: "unix:///r.sock"}}
        """
    )
    assert manifest.apis["kept"].redis.tls is not None
    assert manifest.apis["local"].redis.tls is None
    manifest = folder.read(
        """
        bus: {redis: {url: "unix:///r.sock"}}
        apis: {found: {redis: {sentinel: {service: m, nodes: ["a:1"]}}}}
        """
    )
    assert manifest.apis["found"].redis.url is None
    assert manifest.apis["found"].redis.sentinel is not None


@pytest.mark.parametrize(
    "text",
    [
        "bus: {redis: {url: 'redis://a:1/0'}}",
        "bus: {redis: {sentinel: {service: m, nodes: ['a:1']}}}",
        "bus: {schema: {transport: {redis: {url: 'redis://a:1/0'}}}}",
        "apis: {default: {redis: {url: 'redis://a:1/0'}}}",
        "apis: {a: {event_transport: {redis: {url: 'redis://a:1/0'}}}}",
    ],
)
def test_it_is_known_whether_some_redis_was_configured(folder: Folder, text: str) -> None:
    assert folder.read(text).redis_configured


def test_a_redis_without_a_place_configures_none(folder: Folder) -> None:
    assert not folder.read(
        "bus: {redis: {connect_timeout: 1s}}\napis: {a: {redis: {url: null}}}"
    ).redis_configured


def test_the_default_lies_beneath_listed_and_unlisted_apis(folder: Folder) -> None:
    manifest = folder.read(
        "apis: {default: {rpc_timeout: 9s, validate: {incoming: false}},"
        " auth: {owner: x, validate: {outgoing: false}}}"
    )
    auth, other = manifest.api("auth"), manifest.api("other")
    assert (auth.name, auth.owner, auth.rpc_timeout) == ("auth", "x", 9.0)
    assert not auth.validate.incoming and not auth.validate.outgoing
    assert (other.name, other.owner, other.rpc_timeout) == ("other", None, 9.0)
    assert "default" not in manifest.apis
    assert str(manifest.origin("apis.auth.rpc_timeout")) == "lightbus.yaml:1:31"


def test_a_transport_that_is_not_installed_is_told_with_those_that_are(folder: Folder) -> None:
    (problem,) = folder.problems("apis:\n  auth:\n    event_transport:\n      kafka: {}")
    assert problem == (
        "lightbus.yaml:4:7  apis.auth.event_transport.kafka: no event transport of that name is installed; "
        "there are: debug, memory, redis"
    )


def test_a_flag_that_names_a_transport_that_is_not_installed_is_where_it_is_told(folder: Folder) -> None:
    for problem in folder.problems("apis: {auth: {}}", flags={"transport": "kafka"}):
        assert problem.startswith("--transport  ") and "transport of that name is installed" in problem


def test_a_transport_brings_its_options(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = SimpleNamespace(
        name="other", load=lambda: SimpleNamespace(options=RedisSchemaOptions), value="x:Y"
    )
    real = importlib.metadata.entry_points

    def offered(*, group: str) -> object:
        return [entry] if group == "lightbus_event_transports" else real(group=group)

    monkeypatch.setattr(installed, "entry_points", offered)
    text = (
        "bus: {redis: {url: 'redis://a:1/0'}}\napis: {a: {event_transport: {other: {connect_timeout: 3s}}}}"
    )
    transport = folder.read(text).apis["a"].event_transport
    assert transport.name == "other" and isinstance(transport.options, RedisSchemaOptions)
    assert transport.options.connect_timeout == 3.0 and transport.options.url == SecretUrl("redis://a:1/0")


def test_policies_extend_each_other_and_listeners_name_them(folder: Folder) -> None:
    manifest = folder.read(
        """
        policies:
          standard:
            {attempts: 3, backoff: {initial: 2s, max: 1h}, give_up_on: [ValueError, "shop.errors:Gone"]}
          critical: {extends: standard, then: stop_listener, backoff: {factor: 2}}
        listeners:
          a: {events: [x.y], handler: "m:f", on_error: critical}
          b: {events: [x.y], handler: "m:f", on_error: acknowledge_and_log}
          c: {events: [x.y], handler: "m:f"}
        """
    )
    critical = manifest.policies["critical"]
    assert (critical.attempts, critical.then) == (3, OnError.STOP_LISTENER)
    assert (critical.backoff.initial, critical.backoff.factor, critical.backoff.max) == (2.0, 2.0, 3600.0)
    assert critical.give_up_on == (ValueError,) and critical.give_up_on_names == ("shop.errors:Gone",)
    assert manifest.listeners["a"].on_error == critical
    assert manifest.listeners["b"].on_error == DeliveryPolicy(attempts=1, then=OnError.ACKNOWLEDGE_AND_LOG)
    assert manifest.listeners["c"].on_error == DeliveryPolicy()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("policies: {a: {extends: b}, b: {extends: a}}", "policies.b.extends: goes round in a circle"),
        ("policies: {a: {extends: a}}", "policies.a.extends: goes round in a circle"),
        ("policies: {standard: {}, a: {extends: standart}}", "did you mean \"standard\"?"),
        ("policies: {shutdown: {}}", "policies.shutdown: is what on_error already calls something"),
        ("policies: {a: {give_up_on: [Nonsense]}}", "policies.a.give_up_on[0]: must be an exception"),
        ("listeners: {a: {events: [x.y], handler: 'm:f', on_error: shutdwn}}", 'did you mean "shutdown"?'),
        ("listeners: {a: {events: [], handler: 'm:f'}}", "listeners.a.events: is empty"),
        ("listeners: {a: {events: ['*'], handler: 'm:f'}}", "events[0]: must be an event as api.event"),
        ("listeners: {a: {events: [x.y], handler: m.f}}", "handler: must be a function"),
        ("listeners: {a: {events: [x.y], handler: 'm:f', since: yesterday}}", "since: must be new"),
        ("listeners: {a: {events: [x.y], handler: 'm:f', batch_wait: 1s}}", "batch_wait: means nothing"),
        ("listeners: {a: {events: [x.y], handler: 'm:f', renamed_from: a}}", "must be the other name"),
        ("listeners: {a: {events: [x.y], handler: 'm:f', renamed_from: 'b c'}}", "must be the other name"),
        (
            "listeners: {a: {events: [x.y], handler: 'm:f', renamed_from: b}, "
            "b: {events: [x.y], handler: 'm:g'}}",
            "listeners.a.renamed_from: b would have what waits there, too",
        ),
        ("listeners: {a b: {}}", "listeners.a b: can't be a name"),
        ("apis: {auth: , owner: x}", "apis.owner: must be a map of keys and values; indent it under auth?"),
        ("listeners: {h: , events: [a.b], handler: 'm:f'}", "listeners.handler: must be a map of keys"),
        ("schedules: {a: {call: 'm:f'}}", "schedules.a: says neither how often nor when"),
        ("schedules: {a: {call: 'm:f', every: 1s, cron: '0 2 * * *'}}", "has both every and cron"),
        ("schedules: {a: {call: 'm:f', every: 1s, timezone: UTC}}", "schedules.a: has a timezone"),
        ("schedules: {a: {call: 'm:f', cron: '0 2 *'}}", "schedules.a.cron: must be five fields of cron"),
        ("schedules: {a: {call: 'm:f', cron: '99 2 * * *'}}", "five fields of cron that name real times"),
        ("schedules: {a: {call: 'm:f', cron: '0 0 31 2 *'}}", "five fields of cron that name real times"),
        ("schedules: {a: {call: 'm:f', cron: '0 2 * * *', timezone: Mars/X}}", "must be a time zone"),
        ("schedules: {a: {call: 'm:f', cron: '0 2 * * *', timezone: ../../x}}", "must be a time zone"),
        ("service_name: '{hostnam}'", "unknown placeholder {hostnam}; it may be {hostname}"),
        ("service_name: 'a b'", "service_name: must be 1 to 200 characters"),
        ("http: {listen: localhost}", "http.listen: must be host:port"),
        ("http: {listen: 'localhost:99999'}", "http.listen: must be host:port"),
        ("apis: {a: {rpc_timeout: -1}}", "apis.a.rpc_timeout: must be a duration"),
        ("apis: {a: {rpc_concurrency: 0}}", "apis.a.rpc_concurrency: must be at least 1"),
        ("apis: {a: {rpc_concurrency: 99999}}", "apis.a.rpc_concurrency: must be at most 10,000"),
        ("apis: {a: {rpc_concurrency: true}}", "apis.a.rpc_concurrency: must be a whole number, not true"),
        ("apis: {a: {validate: maybe}}", "apis.a.validate: must be true, false or a map"),
        ("apis: {_a: {}}", "apis._a: can't be a name"),
        ("modules: bus", "modules: must be a list; put it in brackets"),
        ("modules: ['my module']", "modules[0]: must be a module as package.module, not 'my module'"),
        ("service_name: 7", "service_name: must be text, not 7; put it in quotes"),
        ("plugins: {internal_sate: {}}", 'did you mean "internal_state"?'),
        ("bus: {redis: {url: 'http://a'}}", "bus.redis.url: must be a URL such as redis://host:6379/0"),
        ("bus: {redis: {url: 'a:1'}}", "or unix:///path; it does not begin with redis://"),
        ("bus: {redis: {url: 'redis://a:b/0'}}", "the port after 'a' is no number"),
        ("bus: {redis: {url: 'redis://a/0?timeout=5'}}", "no options after a ? but db"),
        ("bus: {redis: {url: 'redis://a/0?ssl_cert_reqs=none'}}", "bus.redis.url: must be a URL"),
        ("bus: {redis: {url: 'unix:///r.sock', tls: {}}}", "1:38  bus.redis.tls: there is no TLS"),
        (
            "bus: {redis: {url: 'unix:///r.sock', sentinel: {service: m, nodes: ['a:1']}}}",
            "bus.redis.sentinel: Sentinel tells where Redis is",
        ),
        (
            "apis: {a: {event_transport: {redis: {url: 'unix:///r.sock', tls: {}}}}}",
            "apis.a.event_transport.redis.tls: there is no TLS",
        ),
        ("bus: {redis: {sentinel: {nodes: ['a:1']}}}", "bus.redis.sentinel: lacks the key service"),
        ("bus: {redis: {sentinel: {service: a, nodes: [a]}}}", "sentinel.nodes[0]: must be host"),
        ("apis: {a: {redis: {embedded: true}}}", "apis.a.redis.embedded: unknown key"),
    ],
)  # fmt: skip
def test_what_refers_to_nothing_or_says_nothing_is_told(folder: Folder, text: str, told: str) -> None:
    problems = folder.problems(text)
    assert any(told in p for p in problems), problems


@pytest.mark.parametrize(
    ("apis", "where"),
    [
        ("auth: {result_transport: {redis: {url: 'redis://b:1/0'}}}", "redis://b:1/0"),
        ("default: {result_transport: {redis: {url: 'redis://b:1/0'}}}", "redis://b:1/0"),
        (
            "auth: {rpc_transport: {redis: {url: 'redis://c:1/0'}}, "
            "result_transport: {redis: {url: 'redis://a:1/0'}}}",
            "redis://a:1/0",
        ),
        ("auth: {redis: {url: 'redis://c:1/0'}, result_transport: {redis: {username: u}}}", "redis://c:1/0"),
        (
            "auth: {rpc_transport: {redis: {url: 'redis://c:1/0'}}, "
            "result_transport: {redis: {command_timeout: 9}}}",
            "redis://c:1/0",
        ),
    ],
)
def test_answers_travel_as_result_transport_says(folder: Folder, apis: str, where: str) -> None:
    manifest = folder.read(f"bus: {{redis: {{url: 'redis://a:1/0'}}}}\napis: {{{apis}}}")
    record = manifest.api("auth")
    assert record.rpc_transport.options.results == record.result_transport.options
    assert url_of(record.result_transport.options) == where
    assert manifest.notes == ()


@pytest.mark.parametrize(
    "apis",
    [
        "auth: {}",
        "auth: {rpc_transport: {redis: {url: 'redis://b:1/0', password: p}}}",
        "auth: {rpc_transport: {redis: {url: 'redis://b:1/0'}}, "
        "result_transport: {redis: {url: 'redis://b:1/0'}}}",
        "auth: {result_transport: {redis: {url: 'redis://127.0.0.1:6379/0'}}}",
        "default: {result_transport: {redis: {url: 'redis://b:1/0'}}}, auth: {redis: {url: 'redis://c:1/0'}}",
        "auth: {result_transport: {redis: {result_ttl: 5, connection_parameters: {maxsize: 5}}}}",
        "default: {redis: {tls: {verify: false}}, rpc_transport: {redis: {url: 'rediss://b:1/0'}}}, "
        "auth: {redis: {tls: {ca_file: ca.pem}}}",
    ],
)
def test_answers_travel_with_the_calls_where_nothing_else_is_said(folder: Folder, apis: str) -> None:
    record = folder.read(f"apis: {{{apis}}}").api("auth")
    assert record.rpc_transport.options.results is None
    assert url_of(record.result_transport.options) in (url_of(record.rpc_transport.options), DEFAULT_URL)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "apis:\n  a:\n    event_transport: {redis: {replicas_before_confirmed: 1, replicas_timeout: 5s}}",
            "3:79",
        ),
        (
            "apis:\n  a:\n    event_fire_timeout: 1s\n"
            "    event_transport: {redis: {replicas_before_confirmed: 1}}",
            "3:25",
        ),
        (
            "apis:\n  default:\n"
            "    event_transport: {redis: {replicas_before_confirmed: 1, replicas_timeout: 9s}}\n"
            "  a: {event_fire_timeout: 10s}\n  b: {}",
            "3:79",
        ),
    ],
)
def test_a_wait_for_replicas_that_firing_does_not_await_is_told(folder: Folder, text: str, told: str) -> None:
    (warning,) = [each for each in folder.read(text).notes if each.severity == "warning"]
    assert str(warning).startswith(f"lightbus.yaml:{told}  apis.")
    assert "firing gives up before it is known how many replicas have the event" in str(warning)


@pytest.mark.parametrize(
    "text",
    [
        "{apis: {a: {event_transport: {redis: {replicas_timeout: 9s}}}}}",
        "{apis: {a: {event_transport: {redis: {replicas_before_confirmed: 1, replicas_timeout: 4s}}}}}",
        "{apis: {a: {event_fire_timeout: 10s, event_transport: {redis: {replicas_before_confirmed: 1, "
        "replicas_timeout: 9s}}}}}",
    ],
)
def test_a_wait_for_replicas_that_firing_awaits_or_that_is_not_asked_for_is_not(
    folder: Folder, text: str
) -> None:
    assert [each for each in folder.read(text).notes if each.severity == "warning"] == []
