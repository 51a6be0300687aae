"""The environment, --set and the other flags."""

from __future__ import annotations

import pytest

from .conftest import Folder

BASE = """
service_name: shop
apis:
  auth: {owner: auth}
  marketing: {owner: m}
  marketing.analytics: {owner: ma}
listeners:
  sendReceipt-now: {events: [auth.x], handler: "a:b"}
"""


def test_variables_of_their_own(folder: Folder) -> None:
    folder.environ.update(
        LIGHTBUS_MODULE="one.bus, two.bus",
        LIGHTBUS_SERVICE_NAME="named",
        LIGHTBUS_PROCESS_NAME="{hostname}-1",
        LIGHTBUS_FEATURES="rpcs,events",
    )
    manifest = folder.read("modules: [other]\nservice_name: other")
    assert manifest.modules == ("one.bus", "two.bus") and manifest.modules_given
    assert manifest.service_name == "named"
    assert manifest.process_name.endswith("-1")
    assert manifest.features == ("rpcs", "events")
    assert str(manifest.origin("modules")) == "environment LIGHTBUS_MODULE"


def test_a_path_in_the_environment_sets_a_key(folder: Folder) -> None:
    folder.environ.update(
        LIGHTBUS__BUS__LOG_LEVEL="debug",
        LIGHTBUS__BUS__REDIS__URL="redis://elsewhere:6379/0",
        LIGHTBUS__APIS__DEFAULT__RPC_TIMEOUT="7s",
        LIGHTBUS__APIS__AUTH__EVENT_TRANSPORT__REDIS__MAX_STREAM_LENGTH="null",
        LIGHTBUS__APIS__MARKETING__ANALYTICS__RPC_TIMEOUT="3s",
        LIGHTBUS__APIS__BRAND__NEW__VALIDATE__INCOMING="false",
        LIGHTBUS__LISTENERS__SENDRECEIPT_NOW__CONCURRENCY="9",
        LIGHTBUS__PLUGINS__INTERNAL_STATE__PING_INTERVAL="1s",
    )
    manifest = folder.read(BASE)
    assert manifest.bus.log_level == "debug"
    assert manifest.redis_configured
    assert float(manifest.apis["auth"].rpc_timeout) == 7
    assert manifest.apis["auth"].event_transport.options.max_stream_length is None
    assert float(manifest.apis["marketing.analytics"].rpc_timeout) == 3
    assert float(manifest.apis["marketing"].rpc_timeout) == 7
    assert not manifest.apis["brand.new"].validate.incoming
    assert manifest.listeners["sendReceipt-now"].concurrency == 9
    assert manifest.plugins["internal_state"].ping_interval == 1
    assert str(manifest.origin("bus.log_level")) == "environment LIGHTBUS__BUS__LOG_LEVEL"


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("apis.auth.rpc_timeout=3s", "apis.auth.rpc_timeout", "3s"),
        ("apis.marketing.analytics.rpc_timeout=3s", "apis.marketing.analytics.rpc_timeout", "3s"),
        ("apis.marketing.rpc_timeout=3s", "apis.marketing.rpc_timeout", "3s"),
        ("apis.marketing.redis.url=redis://a:1/0", "apis.marketing.redis.url", "redis://a:1/0"),
        ("apis.marketing.validate=false", "apis.marketing.validate", "false"),
        ("apis.marketing.validate.incoming=false", "apis.marketing.validate.incoming", "false"),
        ("apis.new.one.rpc_timeout=3s", "apis.new.one.rpc_timeout", "3s"),
        ("listeners.sendReceipt-now.concurrency=2", "listeners.sendReceipt-now.concurrency", "2"),
        ("modules=a,b", "modules", "a,b"),
        ("bus.redis.password=a=b", "bus.redis.password", "a=b"),
        ("bus.redis.password=${NOT_REPLACED}", "bus.redis.password", "${NOT_REPLACED}"),
    ],
)
def test_set_finds_its_key_by_the_longest_known_name(
    folder: Folder, setting: str, path: str, value: str
) -> None:
    manifest = folder.read(BASE, sets=[setting])
    assert manifest.tree is not None
    node = manifest.tree.find(path)
    assert node is not None and node.value == value
    assert str(node.place) == f"--set {setting.partition('=')[0]}"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("nonsense", "--set  must be KEY=VALUE"),
        ("=x", "--set  must be KEY=VALUE"),
        ("bus.loglevel=x", "--set bus.loglevel  bus: unknown key 'loglevel'; did you mean \"log_level\"?"),
        ("bus.log_level.x=x", "--set bus.log_level.x  bus.log_level: unknown key 'x'"),
        ("bus=x", "--set bus  bus: is a map; set one of its keys: log_level"),
        ("apis.auth=x", "--set apis.auth  apis.auth: is a map"),
        ("apis.auth.rpc_timout=3", "apis.auth: unknown key 'rpc_timout'; did you mean \"rpc_timeout\"?"),
        ("processes=true", "--set processes  processes: must be a whole number, not 'true'"),
        ("bus.log_level=loud", "bus.log_level: must be one of debug, info"),
        ("apis.auth.event_transport.kafka.url=x", "unknown key 'kafka'; it may be one of: debug, memory"),
        ("include=x", "unknown key 'include'"),
    ],
)
def test_a_setting_that_sets_nothing_is_told(folder: Folder, setting: str, told: str) -> None:
    (problem,) = folder.problems(BASE, sets=[setting])
    assert told in problem


def test_a_variable_that_sets_nothing_is_told(folder: Folder) -> None:
    folder.environ["LIGHTBUS__BUS__LOGLEVEL"] = "debug"
    (problem,) = folder.problems(BASE)
    assert problem.startswith("environment LIGHTBUS__BUS__LOGLEVEL  bus: unknown key 'loglevel'")


def test_flags_of_their_own(folder: Folder) -> None:
    flags = {
        "modules": "a.bus,b.bus",
        "service_name": "s",
        "process_name": "p",
        "log_level": "error",
        "features": ["rpcs"],
        "transport": None,
    }
    manifest = folder.read(BASE, flags=flags)
    assert manifest.modules == ("a.bus", "b.bus")
    assert (manifest.service_name, manifest.process_name) == ("s", "p")
    assert manifest.bus.log_level == "error" and manifest.features == ("rpcs",)


def test_one_transport_for_everything(folder: Folder) -> None:
    text = "bus: {redis: {url: 'redis://a:1/0'}}\napis: {auth: {event_transport: {redis: {batch_size: 7}}}}"
    manifest = folder.read(text, flags={"transport": "memory"})
    for record in (manifest.api("auth"), manifest.api("other")):
        for transport in (record.rpc_transport, record.event_transport, record.result_transport):
            assert (transport.name, transport.options) == ("memory", None)
    assert manifest.bus.schema.transport.name == "memory"


def test_arguments_of_create_may_be_a_whole_manifest(folder: Folder) -> None:
    manifest = folder.load(create_arguments={"apis": {"default": {"rpc_timeout": 2}}, "features": ["events"]})
    assert float(manifest.api("any").rpc_timeout) == 2 and manifest.features == ("events",)
    (problem,) = folder.problems_of(create_arguments={"servce_name": "x"})
    assert problem == 'lightbus.create()  servce_name: unknown key; did you mean "service_name"?'
