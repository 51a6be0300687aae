"""``lightbus plan``: each kind of difference, its place and what follows; none once that is deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lightbus.insight.drift.plan import KINDS
from tests.commands.test_doctor import READ_ONLY, monitored
from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server
from tests.support.waiting import waiting

SOLD, LOW = "shop.*:stream", "wide.*:stream"
BUS = """
    from lightbus import Api, Event, Parameter

    class ShopApi(Api):
        sold = Event(parameters=(Parameter("sku", str),))
        returned = Event(parameters=(Parameter("sku", str),))

        class Meta:
            name = "shop"

        def price(self{more}) -> int:
            return 1

    class WideApi(Api):
        low = Event(parameters=(Parameter("sku", str),))

        class Meta:
            name = "wide"

    class {third}Api(Api):
        def ping(self) -> int:
            return 1

        class Meta:
            name = "{third}"

    def on_sold(event, sku: str): ...
    def other(event, **any): ...
    def work(): ...
    def fail(event, **any):
        raise ValueError("as ever")
"""
#: What runs.
BEFORE = """
    service_name: shop
    modules: [bus]
    policies: {often: {attempts: 8, backoff: {initial: 1h, max: 1h}}}
    apis:
      shop: {owner: shop, event_transport: {redis: {max_stream_length: 100}}}
      wide: {owner: shop}
      old: {owner: shop}
    listeners:
      welcome: {events: [shop.sold], handler: "bus:on_sold"}
      former: {events: [shop.sold], handler: "bus:other"}
      mailer: {events: [shop.sold], handler: "bus:fail", on_error: often}
      ender: {events: [shop.sold], handler: "bus:other"}
      pausing: {events: [shop.sold], handler: "bus:other"}
      resting: {events: [shop.sold], handler: "bus:other", enabled: false}
      forgetful: {events: [shop.sold], handler: "bus:other", dedupe: 1h}
      busy: {events: [shop.sold], handler: "bus:other"}
      choosy: {events: [shop.sold], handler: "bus:other"}
      spread: {events: [wide.low], handler: "bus:other"}
    schedules:
      nightly: {cron: "0 2 * * *", timezone: Europe/London, call: "bus:work"}
      weekly: {cron: "0 2 * * 1", call: "bus:work"}
      beat: {every: 1h, call: "bus:work"}
"""
#: What is to be deployed: a difference a line. What is read at a place stands in its own line.
AFTER = """
    service_name: shop
    modules: [bus]
    policies:
      often:
        attempts: 2
        backoff: {initial: 1h, max: 1h}
    apis:
      shop:
        owner: shop
        event_transport:
          redis:
            max_stream_length: 10
      wide:
        owner: shop
        event_transport: {redis: {stream_use: per_event}}
      old:
        owner: archive
      stock:
        owner: shop
    listeners:
      greet: {events: [shop.sold], handler: "bus:on_sold", since: earliest}
      latter: {events: [shop.sold], handler: "bus:other", renamed_from: former}
      mailer: {events: [shop.sold], handler: "bus:fail", on_error: often}
      ender: {events: [shop.sold], handler: "bus:other", on_error: acknowledge_and_log}
      pausing: {events: [shop.sold], handler: "bus:other", enabled: false}
      resting: {events: [shop.sold], handler: "bus:other", enabled: true}
      forgetful: {events: [shop.sold], handler: "bus:other", dedupe: 10m}
      busy: {events: [shop.sold], handler: "bus:other", concurrency: 4}
      choosy: {events: [shop.returned], handler: "bus:other"}
      spread: {events: [wide.low], handler: "bus:other"}
      watcher: {events: [billing.payed], handler: "bus:other"}
    schedules:
      nightly: {cron: "0 3 * * *", timezone: Europe/London, call: "bus:work"}
      hourly: {every: 1h, call: "bus:work"}
      beat: {every: 1h, call: "bus:work", scope: process}
"""
BILLING = {"rpcs": {}, "events": {"paid": {"parameters": {"type": "object", "properties": {}}}}}


@pytest.fixture
def shop(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """A project in an empty folder."""
    it = Project(tmp_path, redis_server.url)
    yield it
    it.close()


def noted(server: Server, service: str, groups: Mapping[str, Sequence[str]] = {}, **declared: Any) -> None:
    """What a host of before has left: its record, and groups at the beginning of streams."""
    record = {"service": service, "format_version": 1, **declared}
    server.execute("SET", f"lightbus:declared:{service}", json.dumps(record))
    for stream, names in groups.items():
        for name in names:
            server.execute("XGROUP", "CREATE", stream, name, "0", "MKSTREAM")
            server.execute("HSET", f"{{{stream}}}:groups", f"{name} service", service)


def calling(server: Server, service: str, process: str, calls: Mapping[str, int]) -> None:
    """The card of a process that calls."""
    card = json.dumps({"service": service, "process": process, "calls": calls})
    server.execute("SET", f"lightbus:card:{service}:{process}", card)
    server.execute("ZADD", "lightbus:cards", 1 << 40, f"{service}\0{process}")


def write(project: Project, manifest: str, *, third: str = "old", more: str = "") -> None:
    project.write("bus.py", BUS.format(third=third, more=more))
    project.write("lightbus.yaml", manifest)


def planned(project: Project, *args: str, status: int) -> dict[str, Any]:
    done = project.run("plan", "--format", "json", *args)
    assert done.returncode == status, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["format_version"] == 1 and found["changes"] == len(found["drifts"])
    return found


def rows(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What a plan says, by kind and subject; what is dangerous begins with an exclamation mark."""
    return {
        (each["kind"], each["subject"]): ("! " if each["severity"] == "danger" else "")
        + ": ".join(filter(None, (each["change"], each["consequence"])))
        for each in found["drifts"]
    }


def one(found: dict[str, Any], kind: str) -> dict[str, Any]:
    (drift,) = [each for each in found["drifts"] if each["kind"] == kind]
    assert isinstance(drift, dict)
    return drift


EVERYTHING = {
    (
        "api_given_up",
        "api old",
    ): "! left to the service archive: which does not serve it now: calls fail until it does",
    ("contract", "contract shop.price()"): "! parameters.currency is new, and required: breaks "
    "callers web (412/h), billing (3/h)",
    ("stream_use", "api wide"): "! stream_use per_api -> per_event: 1 unread event stays in wide.*:stream, "
    "unread by any listener",
    (
        "listener_left_behind",
        "listener shop-welcome",
    ): "! left behind on shop.*:stream: 3 unread events; holds back trimming",
    ("listener_stopped", "listener shop-pausing"): "! enabled true -> false: 3 unread events; holds back "
    "trimming",
    ("api_made", "api stock"): "served from now on",
    ("retention", "retention shop"): "max_stream_length 100 -> 10: 13 handled events go, 3 unread stay",
    ("listener_made", "listener shop-greet"): "made on shop.*:stream, since: earliest: 23 events will be "
    "handled at once",
    ("listener_made", "listener shop-spread"): "made on wide.low:stream, since: new: it gets what is fired "
    "from its start on",
    ("listener_made", "listener shop-watcher"): "made on billing.*:stream, since: new: it gets what is fired "
    "from its start on",
    ("listener_renamed", "listener shop-latter"): "takes over from shop-former: 3 unread events",
    (
        "listener_started",
        "listener shop-resting",
    ): "enabled false -> true: it handles at once 3 unread events",
    (
        "listener_events",
        "listener shop-choosy",
    ): "listens no longer shop.sold and now also shop.returned: what waits of those is passed over",
    (
        "unknown_event",
        "listener shop-watcher",
    ): "waits for billing.payed: billing has no event payed; did you mean paid?",
    ("dedupe", "listener shop-forgetful"): "dedupe 60 min -> 10 min: an event that comes once more after "
    "10 min runs again",
    ("concurrency", "listener shop-busy"): "concurrency 1 -> 4: events no longer run in their order",
    ("policy_attempts", "policy mailer.attempts"): "8 -> 2: 20 waiting events are past that and become dead "
    "letters at their next failure",
    (
        "policy_end",
        "policy ender.then",
    ): "dead_letter after 8 attempts -> acknowledge_and_log after 1 attempt: "
    "events that fail for the last time are only logged",
    ("schedule_gone", "schedule weekly"): "runs no more: it was 0 2 * * 1",
    ("schedule_made", "schedule hourly"): "made, every 3600 s: first run ",
    ("schedule_moved", "schedule nightly"): "next run ",
    ("schedule_moved", "schedule beat"): "scope service -> process: runs in each process",
}
#: Where the manifest says it: what stands there.
PLACES = {
    "api old": "owner: archive",
    "contract shop.price()": "shop:",
    "api wide": "stream_use: per_event",
    "listener shop-welcome": "listeners:",
    "retention shop": "max_stream_length: 10",
    "policy mailer.attempts": "attempts: 2",
    "policy ender.then": "on_error: acknowledge_and_log",
    "listener shop-latter": "renamed_from: former",
    "schedule nightly": 'cron: "0 3 * * *"',
    "schedule weekly": "schedules:",
}


def test_each_difference_is_told_with_its_place_and_none_once_it_is_deployed(
    shop: Project, redis_server: Server
) -> None:
    write(shop, BEFORE)
    host = shop.host()
    for n in range(20):
        shop.fire("shop.sold", sku=f"{n}")
    eventually(lambda: redis_server.execute("ZCARD", f"{{{SOLD}}}:delayed:shop-mailer") == 20)
    eventually(lambda: not any(waiting(redis_server, SOLD).values()))
    contract = redis_server.execute("GET", "schema:shop")
    assert host.terminate() == 0
    redis_server.execute("SET", "schema:shop", contract)
    redis_server.execute("SET", "schema:billing", json.dumps(BILLING))
    redis_server.execute("SADD", "schemas", "billing")
    redis_server.execute("XGROUP", "CREATE", SOLD, "shop-resting", "$")
    calling(redis_server, "billing", "billing-1", {"shop.price": 3})
    for process, calls in (("web-1", {"shop.price": 400, "old.ping": 1}), ("web-2", {"shop.price": 12})):
        calling(redis_server, "web", process, calls)
    for n in range(3):
        shop.fire("shop.sold", sku=f"{n}")
    shop.fire("wide.low", sku="a")
    assert planned(shop, status=0)["drifts"] == [], "the manifest that ran is that of before"

    write(shop, AFTER, third="stock", more=", sku: str, currency: str")
    found = planned(shop, status=1)
    told = rows(found)
    assert told.keys() == EVERYTHING.keys()
    wrong = {key: text for key, text in told.items() if not text.startswith(EVERYTHING[key])}
    assert wrong == {}
    is_dangerous = [each["severity"] == "danger" for each in found["drifts"]]
    assert is_dangerous == sorted(is_dangerous, reverse=True), "the worst stand first"
    lines = (shop.folder / "lightbus.yaml").read_text().splitlines()
    for each in found["drifts"]:
        assert each["source"] == "lightbus.yaml", each
        written = lines[each["line"] - 1][each["column"] - 1 :]
        assert written.startswith(PLACES.get(each["subject"], written)), each
    command = "lightbus group move shop-welcome shop-greet"
    assert one(found, "listener_left_behind")["hint"] == f"the same handler as shop-greet: {command}"

    assert shop.run(*command.split()[1:], "--yes").returncode == 0
    shop.host()
    assert planned(shop, "--detailed-exitcode", status=0)["drifts"] == []


def test_a_service_that_is_new_on_its_bus_is_told_to_be(shop: Project) -> None:
    write(shop, "service_name: shop\nmodules: [bus]\n")
    assert rows(planned(shop, "--detailed-exitcode", status=2)) == {
        (
            "service_new",
            "service shop",
        ): "is new on this bus: if it has run with another Redis, all that waits there stays there"
    }
    assert planned(shop, status=0)["dangers"] == 0, "changes are no failure unless that is asked for"


RENAMED = """
    service_name: {name}
    apis: {{shop: {{owner: {name}}}}}
    listeners: {{mailer: {{events: [shop.sold], handler: "bus:on_sold"}}}}
"""


MAILER = {"service": "shop", "name": "mailer", "events": [["shop", "sold"]], "handler": "bus:on_sold"}


def test_a_service_with_a_new_name_leaves_its_groups_behind(shop: Project, redis_server: Server) -> None:
    noted(redis_server, "shop", {SOLD: ["shop-mailer"]}, listeners={"mailer": MAILER})
    redis_server.execute("XADD", SOLD, "*", "id", "1")
    write(shop, RENAMED.format(name="store"))
    drift = one(planned(shop, status=1), "service_renamed")
    assert (drift["subject"], drift["change"]) == ("service store", "seems to have been shop")
    assert drift["consequence"] == "1 unread event of shop-mailer stay behind"
    assert drift["hint"] == "stop shop, then: lightbus group move shop-mailer store-mailer"
    assert (drift["line"], drift["path"]) == (1, "service_name")
    write(shop, RENAMED.format(name="store").replace("owner: store", "owner: shop"))
    assert "service_renamed" not in {kind for kind, _ in rows(planned(shop, status=0))}, "shop is another one"


def test_an_api_that_another_service_owns_is_told_with_its_process(
    shop: Project, redis_server: Server
) -> None:
    noted(redis_server, "shop")
    write(shop, "service_name: shop\nmodules: [bus]\napis: {shop: {owner: shop}}\n")
    other = shop.within("other")
    other.folder.mkdir()
    write(other, "service_name: rival\nservice_version: '3.2'\nprocess_name: rival-1\n", third="mine")
    other.write("bus.py", BUS.format(third="mine", more="").replace("wide", "broad"))
    other.host()
    drift = one(planned(shop, status=1), "api_owned_elsewhere")
    assert drift["change"] == 'owned by service "rival" (rival-1, version 3.2) now'
    assert drift["hint"] == "stop it, or leave the API to it: apis.shop.owner: rival"
    assert drift["path"] == "apis.shop.owner"


MOVING = """
    service_name: shop
    apis:
      shop:
        owner: shop
        event_transport: {{redis: {{url: "{url}"}}}}
    listeners: {{mailer: {{events: [shop.sold], handler: "bus:on_sold"}}}}
"""


def test_what_stays_at_the_redis_of_before_is_counted(
    shop: Project, redis_server: Server, start_server: StartServer
) -> None:
    old, new = start_server(), start_server()
    address = f"127.0.0.1:{old.port}/0"
    apis = {
        "shop": {"owner": "shop", "address": address, "stream_use": "per_api", "max_stream_length": 100_000}
    }
    noted(redis_server, "shop", apis=apis, listeners={"mailer": MAILER})
    noted(old, "shop", {SOLD: ["shop-mailer"]})
    old.execute("XADD", SOLD, "*", "id", "1")
    old.execute("XADD", f"{{{SOLD}}}:dead:shop-mailer", "*", "id", "1")
    write(shop, MOVING.format(url=new.url))
    drift = one(planned(shop, status=1), "redis_moved")
    assert drift["change"] == f"another server, 127.0.0.1:{new.port}/0"
    assert drift["consequence"] == f"1 unread event and 1 dead letter stay at {address}"
    assert drift["hint"] == f"see it with lightbus group list --set bus.redis.url=redis://{address}"
    assert drift["path"] == "apis.shop.event_transport.redis.url"
    old.close()
    assert "can't be counted" in one(planned(shop, status=1), "redis_moved")["consequence"]


def test_every_kind_of_difference_is_seeded_here() -> None:
    apart = {"service_new", "service_renamed", "api_owned_elsewhere", "redis_moved"}
    assert {kind for kind, _ in EVERYTHING} | apart == set(KINDS)


#: What a plan sends besides.
READS = READ_ONLY | {"hkeys", "hello", "xrange", "zrange"}


def test_nothing_is_written_to_redis_and_no_script_is_run(shop: Project, redis_server: Server) -> None:
    noted(redis_server, "shop", {SOLD: ["shop-mailer", "shop-former"]}, listeners={"mailer": MAILER})
    ids = [redis_server.execute("XADD", SOLD, "*", "id", "1") for _ in range(120)]
    # One that began in the middle: Redis does not know how many events it has not read.
    redis_server.execute("XGROUP", "CREATE", SOLD, "shop-middle", ids[3])
    redis_server.execute("DEL", "lightbus:streams", "lightbus:streams:searched")
    redis_server.execute("SCRIPT", "FLUSH")
    before = {key: redis_server.execute("DUMP", key) for key in redis_server.execute("KEYS", "*")}
    write(shop, AFTER, third="stock")
    with monitored(redis_server) as seen:
        found = planned(shop, status=1)
    assert any("about " in text for text in rows(found).values())
    assert {words[0].lower() for words in seen} - READS == set()
    assert {key: redis_server.execute("DUMP", key) for key in redis_server.execute("KEYS", "*")} == before
