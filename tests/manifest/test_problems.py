"""How problems are told."""

from __future__ import annotations

import json

import pytest

from lightbus.exceptions import ConfigurationError, ManifestError
from lightbus.manifest.problems import InvalidManifest, render

from .conftest import Folder

SIX = """\
servce_name: billing
bus:
  log_level: loud
listeners:
  send_receipt:
    events: [billing.invoice_paid]
    handler: billing.handlers.send_receipt
    concurency: 16
    on_error: standrd
policies:
  standard: {attempts: many}
"""


def test_six_mistakes_are_six_located_lines_in_the_order_of_the_file(folder: Folder) -> None:
    assert folder.problems(SIX) == [
        'lightbus.yaml:1:1  servce_name: unknown key; did you mean "service_name"?',
        "lightbus.yaml:3:14  bus.log_level: must be one of debug, info, warning, error, critical, not 'loud'",
        "lightbus.yaml:7:14  listeners.send_receipt.handler: must be a function as package.module:function, "
        "not 'billing.handlers.send_receipt'",
        'lightbus.yaml:8:5  listeners.send_receipt.concurency: unknown key; did you mean "concurrency"?',
        "lightbus.yaml:9:15  listeners.send_receipt.on_error: no policy of that name; did you mean "
        '"standard"?',
        "lightbus.yaml:11:24  policies.standard.attempts: must be a whole number, not 'many'",
    ]


def test_problems_of_several_layers_come_in_the_order_of_the_layers(folder: Folder) -> None:
    folder.environ["LIGHTBUS__X"] = "1"
    a = folder.write("z.yaml", "include: [b.yaml]\nz: 1")
    folder.write("b.yaml", "b: 1")
    c = folder.write("c.yaml", "c: 1")
    told = folder.problems_of(a, c, sets=["s=1"])
    assert [line.split(" ")[0] for line in told] == [
        "z.yaml:2:1",
        "b.yaml:1:1",
        "c.yaml:1:1",
        "environment",
        "--set",
    ]


def test_a_mistake_beneath_every_api_is_told_once(folder: Folder) -> None:
    listed = "".join(f"  api{i}: {{}}\n" for i in range(20))
    told = folder.problems(f"bus: {{redis: {{maxsize: 1}}}}\napis:\n  default: {{rpc_timeout: x}}\n{listed}")
    assert len(told) == 2
    assert told[0].startswith("lightbus.yaml:1:15  bus.redis.maxsize: unknown key")
    assert told[1].startswith("lightbus.yaml:3:26  apis.default.rpc_timeout: must be a duration")


def test_a_listener_is_told_of_all_that_is_wrong_with_it(folder: Folder) -> None:
    told = folder.problems("listeners: {a: {events: [], handler: nope}}")
    assert [line.partition("  ")[2].partition(":")[0] for line in told] == [
        "listeners.a.events",
        "listeners.a.handler",
    ]


def test_the_error_is_a_configuration_error_with_every_problem(folder: Folder) -> None:
    folder.write("lightbus.yaml", SIX)
    with pytest.raises(ManifestError) as caught:
        folder.load()
    assert isinstance(caught.value, ConfigurationError) and isinstance(caught.value, InvalidManifest)
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_problems_as_json_and_as_annotations(folder: Folder) -> None:
    folder.write("a,b.yaml", "servce_name: 100%\n")
    with pytest.raises(InvalidManifest) as caught:
        folder.load("a,b.yaml")
    assert json.loads(render(caught.value.located, "json")) == [
        {
            "severity": "error",
            "source": "a,b.yaml",
            "line": 1,
            "column": 1,
            "path": "servce_name",
            "message": 'unknown key; did you mean "service_name"?',
        }
    ]
    assert render(caught.value.located, "github") == (
        '::error file=a%2Cb.yaml,line=1,col=1::servce_name: unknown key; did you mean "service_name"?'
    )


def test_keys_that_begin_with_x_are_the_users_own(folder: Folder) -> None:
    folder.read(
        """
        x-team: payments
        bus: {x-note: 1, redis: {x-note: {a: [b]}}}
        apis: {x-note: 1, auth: {x-note: 1}}
        listeners: {x-note: 1}
        plugins: {x-note: 1}
        """
    )


def test_names_that_can_not_be_printed_are_escaped(folder: Folder) -> None:
    (problem,) = folder.problems('"a\\e[31m\\nb": 1')
    assert problem == "lightbus.yaml:1:1  a\\x1b[31m\\nb: unknown key" + problem.partition("unknown key")[2]
    assert problem.isprintable()


def test_a_file_of_nothing_but_mistakes_ends(folder: Folder) -> None:
    told = folder.problems("\n".join(f"k{i}: 1" for i in range(4_000)))
    assert len(told) == 101 and "lightbus.yaml:1:1  and 3,900 more mistakes in this map" in told
    told = folder.problems("apis:\n" + "\n".join(f"  a{i}: {{x: 1}}" for i in range(2_000)))
    assert len(told) == 1001 and told[-1].endswith("more like these")


def test_replicas_and_their_time_are_numbers_that_there_can_be(folder: Folder) -> None:
    redis = "{replicas_before_confirmed: -1, replicas_timeout: 0}"
    told = folder.problems(f"apis: {{orders: {{event_transport: {{redis: {redis}}}}}}}")
    event = "apis.orders.event_transport.redis"
    assert told == [
        f"lightbus.yaml:1:70  {event}.replicas_before_confirmed: must be at least 0",
        f"lightbus.yaml:1:92  {event}.replicas_timeout: must be at least 1ms",
    ]
