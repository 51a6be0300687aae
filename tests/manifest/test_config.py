"""The manifests of config/: a layered one for the shop of examples/, and its overlay for production."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from lightbus.declared.api import Api
from lightbus.declared.registry import Registry
from lightbus.exceptions import ManifestError
from lightbus.manifest.load import load
from lightbus.manifest.model import Manifest
from lightbus.manifest.printing.jsonschema import json_schema

ROOT = Path(__file__).parents[2]
PRODUCTION = "config/environments/production.yaml"


@pytest.fixture(autouse=True)
def nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the shop is only looked at."""
    monkeypatch.setattr("lightbus.declared.api.auto_registered", Registry())


def read(*paths: str, sets: tuple[str, ...] = (), **environ: str) -> Manifest:
    return load(paths, cwd=ROOT, environ=environ, overrides=sets)


def test_the_folder_is_one_manifest() -> None:
    manifest = read("config")
    assert manifest.service_name == "shop" and manifest.modules == ("examples.shop.bus",)
    assert manifest.bus.redis.embedded is True
    assert sorted(manifest.listeners) == ["note_payment", "reserve_stock", "send_receipt"]
    assert manifest.apis["payments"].owner == "payments"
    assert str(manifest.origin("listeners.send_receipt.concurrency")).startswith("config/20-service.yaml:")


def test_production_lies_over_it() -> None:
    manifest = read(
        "config",
        PRODUCTION,
        sets=("bus.redis.password=from-a-test", "bus.log_level=debug"),
        REDIS_URL="rediss://redis:6379/0",
    )
    assert manifest.bus.log_level == "debug" and manifest.bus.log_format == "json"
    assert manifest.listeners["send_receipt"].concurrency == 64
    for record in manifest.apis.values():
        options = record.event_transport.options
        assert options.username == "shop" and options.password.reveal() == "from-a-test"
        assert options.tls.ca_file == "/etc/ssl/certs/redis-ca.pem"


def test_production_without_its_environment_says_what_is_missing() -> None:
    with pytest.raises(ManifestError) as caught:
        read("config", PRODUCTION, sets=("bus.redis.password=x",))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{PRODUCTION}:11:10  bus.redis.url: the URL of the production Redis")


def test_all_code_that_it_names_exists() -> None:
    manifest = read("config")
    for name in manifest.modules:
        importlib.import_module(name)
    names = [str(listener.handler) for listener in manifest.listeners.values()]
    names += [str(schedule.call) for schedule in manifest.schedules.values()]
    for target in names:
        module, _, function = target.partition(":")
        assert inspect.isfunction(getattr(importlib.import_module(module), function))


def test_the_shop_s_apis_are_those_that_it_owns() -> None:
    manifest = read("config")
    module = importlib.import_module(manifest.modules[0])
    defined = [
        c.__lightbus__.name
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Api) and c is not Api
    ]
    assert sorted(defined) == sorted(name for name, record in manifest.apis.items() if record.owner == "shop")


@pytest.mark.parametrize(
    "path", sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "config").rglob("*.yaml"))
)
def test_an_editor_finds_the_schema_and_accepts_the_file(path: str) -> None:
    text = (ROOT / path).read_text()
    schema = text.splitlines()[0].partition("$schema=")[2]
    assert (ROOT / path).parent.joinpath(schema).resolve() == ROOT / "config/reference/lightbus.schema.json"
    assert jsonschema_rs.Draft202012Validator(json.loads(json_schema())).is_valid(yaml.safe_load(text))
