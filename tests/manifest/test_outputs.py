"""What is printed about manifests: the effective one, the reference and the JSON Schema."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from lightbus.manifest import model
from lightbus.manifest.keys.forms import ROOT, Block, Leaves, Named, OneOf, keys_of
from lightbus.manifest.keys.scalars import Leaf
from lightbus.manifest.model import Manifest
from lightbus.manifest.printing.effective import show
from lightbus.manifest.printing.jsonschema import json_schema
from lightbus.manifest.printing.reference import reference
from lightbus.transports.redis import options as redis

from .conftest import Folder

FULL = """
service_name: billing
modules: [billing.bus, billing.reports.bus]
features: [rpcs, events]
bus:
  {log_level: debug, log_format: json, redis: {url: "redis://h:1/0", tls: {ca_file: a b}}, schema: {ttl: 90s}}
apis:
  default: {rpc_timeout: 1500ms, validate: {outgoing: false}}
  billing: {owner: billing, event_transport: {redis: {stream_use: per_event, max_stream_length: null}}}
  auth: {owner: "no", redis: {sentinel: {service: main, nodes: ["s1:1", "s2:2"]}}, validate: false}
policies:
  standard: {attempts: 3, give_up_on: [ValueError, "a.b:C"]}
  critical: {extends: standard, then: stop_listener}
listeners:
  one: {events: [billing.paid, "auth.*"], handler: "a.b:c", on_error: critical, since: "2026-01-31T12:00:00Z"}
  two: {events: [auth.x], handler: "a.b:c", on_error: shutdown, enabled: false}
schedules:
  nightly: {cron: "0 2 * * *", timezone: Europe/London, call: "a:b"}
  beat: {every: 36h, call: "a:b", scope: process}
"""


WRITE_IT = "run: python -m lightbus.manifest config/reference"


def same(one: Manifest, other: Manifest) -> bool:
    return replace(one, modules_given=True) == replace(other, modules_given=True)


def test_what_is_shown_loads_as_the_same_manifest(folder: Folder) -> None:
    manifest = folder.read(FULL)
    assert same(folder.load(folder.write("shown.yaml", show(manifest))), manifest)
    assert same(folder.load(folder.write("shown.yaml", show(manifest, origin=True))), manifest)


def test_the_origin_of_each_value_is_shown(folder: Folder) -> None:
    folder.environ["LIGHTBUS__APIS__AUTH__RPC_CONCURRENCY"] = "7"
    folder.write(
        "base.yaml", "bus:\n  redis:\n    url: redis://h:1/0\napis: {default: {rpc_timeout: 9s}, auth: {}}\n"
    )
    manifest = folder.load(
        "base.yaml", folder.write("top.yaml", "service_name: a\n"), sets=["bus.log_level=error"]
    )
    lines = [re.sub(" +", " ", line) for line in show(manifest, origin=True).splitlines()]
    assert "service_name: a # top.yaml:1:15" in lines
    assert " log_level: error # --set bus.log_level" in lines
    assert " rpc_concurrency: 7 # environment LIGHTBUS__APIS__AUTH__RPC_CONCURRENCY" in lines
    assert " drain_timeout: 25s # default" in lines
    text = "\n".join(lines)
    auth = text[text.index("\n auth:") :]
    assert " rpc_timeout: 9s # base.yaml:4:31\n" in auth
    # Beneath each transport of the API lies the Redis of the bus.
    assert auth.count(' url: "redis://h:1/0" # base.yaml:3:10\n') == 4


def all_blocks() -> list[type[Any]]:
    found = [
        c for c in (*vars(model).values(), *vars(redis).values()) if isinstance(c, type) and is_dataclass(c)
    ]
    return [c for c in dict.fromkeys(found) if any("description" in f.metadata for f in fields(c))]


def test_the_reference_has_every_key_with_its_description() -> None:
    text = " ".join(line.strip(" #") for line in reference().splitlines())
    for cls in all_blocks():
        for key in keys_of(cls).values():
            assert f"{key.description} {key.name}:" in text, f"{cls.__name__}.{key.name}"


def test_the_reference_changes_nothing_but_for_its_examples(folder: Folder) -> None:
    nothing = folder.load()
    manifest = folder.load(folder.write("reference.yaml", reference()))
    assert manifest.listeners["example"].events == ("shop.orders.placed",)
    assert manifest.schedules["example"].every == 30.0
    assert manifest.policies["example"] == model.Policy()
    assert manifest.web.roles == {"example": ()}
    manifest = replace(manifest, web=replace(manifest.web, roles={}))
    empty: dict[str, Any] = {"listeners": {}, "schedules": {}, "policies": {}}
    assert same(replace(manifest, **empty), replace(nothing, **empty))


def test_every_option_says_what_it_does_in_one_line() -> None:
    for cls in all_blocks():
        for key in keys_of(cls).values():
            text = key.description
            assert text and text[0].isupper() and "\n" not in text and text.endswith((".", "}.")), (
                f"{cls}.{key.name}"
            )


def test_the_files_of_the_reference_are_current() -> None:
    folder = Path(__file__).parents[2] / "config" / "reference"
    assert (folder / "lightbus.yaml").read_text() == reference(), WRITE_IT
    assert (folder / "lightbus.schema.json").read_text() == json_schema(), WRITE_IT


@pytest.fixture(scope="module")
def validator() -> jsonschema_rs.Draft202012Validator:
    schema = json.loads(json_schema())
    jsonschema_rs.meta.validate(schema)
    return jsonschema_rs.Draft202012Validator(schema)


@pytest.mark.parametrize(
    "text", [reference(), FULL, "x-mine: [1]\nbus: {x-a: 1}", "apis: {a: {rpc_timeout: '${A}'}}"]
)
def test_an_editor_accepts_a_good_manifest(validator: jsonschema_rs.Draft202012Validator, text: str) -> None:
    assert [e.message for e in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "servce_name: a",
        "bus: {log_level: loud}",
        "bus: {redis: {passwrd: x}}",
        "apis: {a: {rpc_concurrency: 0}}",
        "apis: {a: {rpc_concurrency: many}}",
        "apis: {a: {event_transport: {kafka: {}}}}",
        "apis: {a: {event_transport: {redis: {}, memory: {}}}}",
        "listeners: {a: {events: [nonsense], handler: 'a:b'}}",
        "policies: {a: {then: explode}}",
        "plugins: {internal_sate: {}}",
        "features: [rcps]",
    ],
)
def test_an_editor_refuses_what_loading_refuses(
    validator: jsonschema_rs.Draft202012Validator, folder: Folder, text: str
) -> None:
    assert not validator.is_valid(yaml.safe_load(text))
    assert folder.problems(text)


def test_every_key_has_a_shape_that_can_be_printed() -> None:
    def walk(block: Block) -> None:
        for key in keys_of(block.cls).values():
            if isinstance(key.form, Block):
                walk(key.form)
            elif isinstance(key.form, Named) and isinstance(key.form.value, Block):
                walk(key.form.value)
            else:
                assert isinstance(key.form, Leaf | Leaves | Named | OneOf) or key.name == "plugins"

    walk(ROOT)
