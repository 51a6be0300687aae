"""Services as users that ``lightbus acl`` writes, and what they say when a rule is taken away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lightbus
from lightbus.exceptions import LightbusException, LightbusTimeout, NoWorker, WorkerLost
from lightbus.host.checks import client_for
from lightbus.insight.audit import Actor
from lightbus.insight.dead_letters import Filter, errands
from lightbus.manifest.load import load
from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Kind, Server, free_port

from .monitor import Monitor, kinds_of_keys
from .page import USERS, refused, rules_of, set_user, url_of, without

DEAD = "{shop.orders.*:stream}:dead:mailer-send"
SHOP = """
import asyncio
import lightbus

class OrdersApi(lightbus.Api):
    placed = lightbus.Event(parameters=("number",), dedupe="1h")
    shipped = lightbus.Event(parameters=("number",))

    class Meta:
        name = "shop.orders"

    def total(self, number: int) -> int:
        return number * 2

    async def stay(self) -> None:
        print("staying", flush=True)
        await asyncio.sleep(60)

def beat():
    print("beat", flush=True)
"""
MAIL = """
import os, time

def send(event, number: int) -> None:
    print(f"handling {number}", flush=True)
    if number < 0:
        raise ValueError(number)
    time.sleep(60 if number == 7 and os.environ["ROLE"] == "first" else 0)
    print(f"handled {number}", flush=True)
"""


class Services:
    """The three services of the page, each as its own user."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        for user in USERS:
            set_user(server, user, rules_of(user))
            (folder / user).mkdir()
        self.shop, self.mailer, self.web, self.operator = (
            Project(folder / user, url_of(server, user)) for user in USERS
        )
        self.port = free_port()
        self.shop.write("bus.py", SHOP)
        self.shop.write(
            "lightbus.yaml",
            f"""
            service_name: shop
            http: {{listen: "127.0.0.1:{self.port}"}}
            apis: {{shop.orders: {{owner: shop}}}}
            schedules: {{nightly: {{every: 1s, call: "bus:beat", scope: service}}}}
            """,
        )
        self.mailer.write("mail.py", MAIL)
        self.mailer.write(
            "lightbus.yaml",
            """
            service_name: mailer
            modules: []
            policies: {quick: {attempts: 2, backoff: {initial: 100ms}}}
            apis: {shop.orders: {owner: shop, event_transport: {redis: {acknowledgement_timeout: 1s}}}}
            listeners:
              send:
                events: [shop.orders.placed, shop.orders.shipped]
                handler: mail:send
                on_error: quick
                since: earliest
                dedupe: 1h
            """,
        )

    def problems(self) -> list[str]:
        """What /readyz of the shop says; nothing where it is ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=60) as page:
                text = page.read()
        except urllib.error.HTTPError as e:
            with e:
                text = e.read()
        problems: list[str] = json.loads(text)["problems"]
        return problems

    def take_away(self, user: str, key: str, command: str) -> None:
        """Take a command away from the rule of a user by which it is allowed on a key."""
        rules = rules_of(user)
        nth = next(n for n, rule in enumerate(rules) if f"~{key} " in rule and f"{command}" in rule)
        # A rule for scripts is for many keys.
        word = f"~{key}" if command == "+evalsha" else command
        set_user(self.server, user, without(rules, word, nth))

    def give_back(self, user: str) -> None:
        """Give a user all its rules again."""
        set_user(self.server, user, rules_of(user))

    @contextlib.contextmanager
    def caller(self) -> Iterator[Callable[..., Any]]:
        """Gives what calls as the web service over one bus, until that is closed; an error is returned."""
        bus = lightbus.create({"bus": {"redis": {"url": url_of(self.server, "web")}}}, service_name="web")

        def call(procedure: str, timeout: float = 60, **arguments: Any) -> Any:
            try:
                return bus[f"shop.orders.{procedure}"](**arguments, bus_options={"timeout": timeout})
            except LightbusException as e:
                return e

        try:
            yield call
        finally:
            bus.client.close()

    def call(self, procedure: str, timeout: float = 60, **arguments: Any) -> Any:
        """Call as the web service; an error is returned."""
        with self.caller() as call:
            return call(procedure, timeout, **arguments)

    def close(self) -> None:
        for project in (self.shop, self.mailer, self.web, self.operator):
            project.close()


Start = Callable[[Kind], Services]


@pytest.fixture
def start(tmp_path: Path, start_server: StartServer) -> Iterator[Start]:
    made: list[Services] = []

    def begin(kind: Kind) -> Services:
        made.append(Services(tmp_path, start_server(kind, aof=True)))
        return made[-1]

    yield begin
    for services in made:
        services.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["redis7", "valkey"])
def test_services_work_and_recover_with_these_rules_and_redis_refuses_nothing(
    kind: Kind, start: Start
) -> None:
    services = start(kind)
    server, shop_project, mailer_project = services.server, services.shop, services.mailer
    with Monitor(server) as monitor:
        shop, mailer = shop_project.host(), mailer_project.host(ROLE="first")
        eventually(lambda: services.problems() == [])
        assert services.call("total", number=3) == 6
        shop_project.fire("shop.orders.shipped", number=1)
        fired = shop_project.run("fire", "shop.orders.placed", "number=2")
        assert fired.returncode == 0, fired.stderr
        shop_project.fire("shop.orders.shipped", number=-5)
        mailer.wait_for_line("handled 1")
        mailer.wait_for_line("handled 2")
        eventually(lambda: server.execute("XLEN", DEAD) == 1)
        mailer = takes_over(services, mailer)
        shop = is_replaced(services, shop)
        server.execute("DEL", "shop.orders.*:stream")
        shop_project.fire("shop.orders.shipped", number=9)
        mailer.wait_for_line("handled 9")
        shop.wait_for_line("beat")
        looks_after(services)
        assert (mailer.terminate(), shop.terminate()) == (0, 0)
        known = {"config|get", "client|setinfo", "client|kill"}
        assert {(user, what) for user, what in refused(server) if what not in known} == set()
        for user, project in (("shop", shop_project), ("mailer", mailer_project)):
            checked = project.run("check", "--imports", "--connect")
            assert checked.returncode == 0 and "may not" not in checked.stdout, (user, checked.stdout)
    seen, listed = kinds_of_keys(server, monitor.commands())
    assert (sorted(seen - listed), sorted(listed - seen)) == ([], [])


def takes_over(services: Services, mailer: Process) -> Process:
    """A host is killed with an event in its hands, and another one handles it."""
    services.shop.fire("shop.orders.shipped", number=7)
    mailer.wait_for_line("handling 7")
    mailer.kill()
    other = services.mailer.host(ROLE="second")
    other.wait_for_line("handled 7")
    return other


def is_replaced(services: Services, shop: Process) -> Process:
    """A host is killed with a call in its hands; the caller is told, and another one serves."""
    outcome: list[Any] = []
    caller = threading.Thread(target=lambda: outcome.append(services.call("stay", 120)))
    caller.start()
    shop.wait_for_line("staying")
    shop.kill()
    other = services.shop.host()
    caller.join()
    assert isinstance(outcome[0], WorkerLost)
    assert services.call("total", number=4) == 8
    return other


def looks_after(services: Services) -> None:
    """Somebody looks at the bus, and hands a dead letter to its listener again."""
    services.server.execute("XGROUP", "CREATE", "shop.orders.*:stream", "mailer-old", 0)
    for command in (
        *(("status",), ("inspect",), ("dlq", "list"), ("dlq", "replay", "--all")),
        *(("group", "list"), ("group", "rm", "mailer-old", "--yes", "--drop-unread", "99")),
        *(("pause", "mailer-send"), ("resume", "mailer-send"), ("schedule", "list")),
    ):
        done = services.operator.run(*command)
        # One that was killed may be believed to live for half a minute, and pause says that it has not heard.
        assert done.returncode == 0 or "was killed within" in done.stderr, (command, done.stdout, done.stderr)
    planned = services.shop.run("plan", LIGHTBUS__BUS__REDIS__URL=url_of(services.server, "ops"))
    assert (planned.returncode, planned.stderr) == (0, ""), planned.stdout + planned.stderr
    eventually(lambda: services.server.execute("XLEN", DEAD) == 1)
    asyncio.run(replays_by_an_errand(services))
    eventually(lambda: services.server.execute("XLEN", DEAD) == 1)


async def replays_by_an_errand(services: Services) -> None:
    """The same as a console has it done."""
    config = {"service_name": "console", "bus": {"redis": {"url": url_of(services.server, "ops")}}}
    # Unlike one that an application makes, it shows no card once it has lived for a while.
    client, apis = client_for(load(create_arguments=config, environ={}, look_around=False)), ["shop.orders"]
    try:
        counted = await errands.count(client, apis, Filter(), 10)
        errand = await errands.give(client, "replay", Filter(), counted, Actor(user="ann"))
        assert counted.count == 1 and await errands.carry_out(client, apis, errand, "console-1")
    finally:
        await client.close_async()


def test_a_host_that_may_not_own_its_api_says_why_and_starts_once_it_may(start: Start) -> None:
    services = start("redis7")
    services.take_away("shop", "lightbus:owner:shop.orders", "+evalsha")
    host = services.shop.start("run")
    told = eventually(lambda: tells(services, "EVALSHA"), timeout=60)
    assert told[0].startswith("the host is starting")
    assert any("on lightbus:owner:shop.orders, which it needs to own shop.orders" in line for line in told)
    assert "may not use EVALSHA" in host.output()
    services.give_back("shop")
    eventually(lambda: services.problems() == [])
    host.wait_for_line("allows everything that is needed")


def tells(services: Services, word: str) -> list[str]:
    """What /readyz says, once a word is in it."""
    try:
        problems = services.problems()
    except OSError:
        return []
    return problems if any(word in problem for problem in problems) else []


@pytest.mark.parametrize(
    ("rule", "word", "named"),
    [
        (
            "shop.orders.\\*:stream",
            "+xadd",
            "XADD on shop.orders.*:stream, which it needs to fire",
        ),
        (
            "shop.orders.\\*:stream",
            "+xtrim",
            "XTRIM on shop.orders.*:stream, which it needs to fire",
        ),
        (
            "lightbus:schedule:shop:nightly",
            "+hset",
            "HSET on lightbus:schedule:shop:nightly, which it needs to run",
        ),
        ("schemas", "+sadd", "SADD on schemas, which it needs to publish"),
    ],
)
def test_a_host_that_lacks_something_for_later_is_not_ready(
    start: Start, rule: str, word: str, named: str
) -> None:
    services = start("valkey")
    services.take_away("shop", rule, word)
    services.shop.start("run")
    told = eventually(lambda: tells(services, word[1:].upper()), timeout=60)
    assert any(named.partition(" on ")[0] in line and named.partition(", ")[2] in line for line in told), told
    services.give_back("shop")
    eventually(lambda: services.problems() == [])


@pytest.mark.parametrize(
    ("rule", "word", "named"),
    [
        ("lightbus:reply:*", "+lpush", "LPUSH (on lightbus:reply:*), which it needs to answer calls of"),
        ("lightbus:reply:*", "+expire", "EXPIRE on lightbus:reply:*, which it needs to answer calls of"),
        (
            "{shop.orders:rpc_queue}:taken:*",
            "+lrem",
            "LREM (on {shop.orders:rpc_queue}:taken:*), which it needs to",
        ),
        (
            "{shop.orders:rpc_queue}:processes",
            "+sadd",
            "SADD on {shop.orders:rpc_queue}:processes, which it needs to",
        ),
        (
            "rpc_expiry_key:*",
            "+getdel",
            "GETDEL (on rpc_expiry_key:*), which it needs to",
        ),
    ],
)
def test_calls_that_could_not_be_finished_are_not_taken(
    start: Start, rule: str, word: str, named: str
) -> None:
    services = start("redis7")
    services.shop.host()
    assert services.call("total", number=1) == 2
    services.take_away("shop", rule, word)
    # The first one, at most, is taken; then nobody serves.
    eventually(lambda: isinstance(services.call("total", 2, number=2), NoWorker))
    words = named.replace(" (on", " on").replace("),", ",")

    def are_told() -> bool:
        told = services.problems()
        assert any(words in line.replace(" (on", " on").replace("),", ",") for line in told), told
        assert any("the API shop.orders takes no calls" in line for line in told), told
        return True

    eventually(are_told)
    services.give_back("shop")
    eventually(lambda: services.call("total", 10, number=3) == 6)
    eventually(lambda: services.problems() == [])


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("{shop.orders:rpc_queue}:served", "+exists"),
        ("schema:*", "+get"),
        ("{schema:shop.orders}:publishers", "+zrangebyscore"),
        ("rpc_expiry_key:*", "+del"),
    ],
)
def test_a_caller_who_may_not_look_is_not_told_that_nobody_serves(
    start: Start, caplog: pytest.LogCaptureFixture, rule: str, word: str
) -> None:
    services = start("valkey")
    services.take_away("web", rule, word)
    with services.caller() as call:

        def is_told() -> bool:
            # Again if it was held up, and has not asked anything by then.
            error = call("total", 1, number=1)
            if not isinstance(error, LightbusTimeout):
                raise TypeError(repr(error))
            return f"may not use {word[1:].upper()}" in caplog.text

        eventually(is_told)


def test_a_caller_is_told_at_once_of_what_it_may_not_send(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    services = start("valkey")
    services.take_away("web", "shop.orders:rpc_queue", "+rpush")
    error = services.call("total", number=1)
    assert "was not called" in str(error) and "'rpush'" in str(error)
