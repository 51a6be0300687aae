"""``lightbus status``: who is on the bus and what waits there."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lightbus
from lightbus.cli.status_screen import Look, _listener, _processes, looked, screen
from lightbus.cli.tables import Verdict
from lightbus.declared.settings import Identity
from lightbus.insight.overview import (
    ApiStatus,
    ListenerStatus,
    OutboxStatus,
    Overview,
    ProcessStatus,
    ScheduleStatus,
    overview,
)
from lightbus.insight.processes import processes
from lightbus.transports import groups as questions
from lightbus.transports.cards import Card
from lightbus.transports.rpc import QueueStatus
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server
from tests.support.terminal import ESCAPES, on_terminal

OWNER = """
    import asyncio
    from lightbus import Api, Event

    class AuthApi(Api):
        user_registered = Event(parameters=("username",))

        class Meta:
            name = "auth"

        async def stay(self):
            await asyncio.sleep(600)
"""

LISTENER = """
    from lightbus import Backoff, DeliveryPolicy

    def before_server_start(bus):
        bus.auth.user_registered.listen(mailer, on_error=DeliveryPolicy(2, Backoff(initial=600)))
        bus.auth.user_registered.listen(late, on_error=DeliveryPolicy(attempts=1))

    def mailer(event_message, username):
        if username == "bad":
            raise ValueError("no")

    def late(event_message, username):
        if username == "bad":
            raise ValueError("no")
"""


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path, redis_server.url)
    it.write("owner/bus.py", OWNER)
    it.write("mail-sender/bus.py", LISTENER)
    yield it
    it.close()


def status(project: Project) -> dict[str, Any]:
    done = project.run("status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    look: dict[str, Any] = json.loads(done.stdout)
    return look


def test_an_empty_bus_has_nothing_to_show(project: Project) -> None:
    names = ("processes", "apis", "listeners", "unreachable", "notes", "schedules", "outboxes")
    assert status(project) == {name: [] for name in names}
    shown = project.run("status").stdout
    assert [word in shown for word in ("Processes", "APIs", "Listeners", "none")] == [True] * 4


def test_processes_apis_and_listeners_are_seen(project: Project, redis_server: Server) -> None:
    owner = project.within("owner")
    owner.host("-p", "p1")
    project.within("mail-sender").host("-s", "mail-sender", "-p", "p2")
    for username in ("ann", "bad"):
        assert owner.run("fire", "auth.user_registered", f"username={username}").returncode == 0
    owner.start("call", "auth.stay", "--timeout", "100")

    def settled() -> bool:
        look = status(project)
        waits = [
            (it["name"], it["lag"], it["pending"], it["retrying"], it["dead"]) for it in look["listeners"]
        ]
        running = [api["running"] for api in look["apis"]]
        return waits == [("late", 0, 0, 0, 1), ("mailer", 0, 0, 1, 0)] and running == [1]

    eventually(settled)
    look = status(project)
    (api,) = look["apis"]
    assert (api["name"], api["owner"], api["is_published"], api["processes"]) == (
        "auth",
        "auth",
        True,
        ["p1"],
    )
    one, two = look["processes"]
    started = one.pop("started_at")
    assert abs(time.time() - started) < 600
    assert one == {
        "service": "auth",
        "name": "p1",
        "owns": ["auth"],
        "serves": ["auth"],
        "listens": [],
        "idle": None,
        "state": "alive",
        "kind": "host",
        "version": None,
        "host": socket.gethostname(),
        "phase": "ready",
        "obstacles": [],
    }
    assert (two["service"], two["name"], two["listens"]) == ("mail-sender", "p2", ["late", "mailer"])
    shown = project.run("status").stdout
    assert "mail-sender" in shown and "auth.*:stream" in shown
    assert len(re.findall(r" now$", shown, re.MULTILINE)) == 2, shown

    # As where Redis refuses cards to their service.
    def is_seen_without_card() -> bool:
        redis_server.execute("DEL", "lightbus:card:mail-sender:p2")
        redis_server.execute("ZREM", "lightbus:cards", "mail-sender\0p2")
        two = status(project)["processes"][1]
        is_known = (two["name"], two["listens"], two["kind"]) == ("p2", ["late", "mailer"], "")
        return is_known and two["idle"] is not None

    # Again if it has renewed its card meanwhile.
    eventually(is_seen_without_card, 60)


def test_a_listener_that_is_away_shows_its_lag(project: Project, redis_server: Server) -> None:
    redis_server.execute("XGROUP", "CREATE", "auth.*:stream", "shop-mailer", "0", "MKSTREAM")
    for _ in range(3):
        redis_server.execute("XADD", "auth.*:stream", "*", "a", "b")
    (listener,) = status(project)["listeners"]
    assert (listener["service"], listener["name"], listener["lag"]) == ("shop", "mailer", 3)
    assert listener["processes"] == [] and "nobody" in project.run("status").stdout


def test_the_owner_that_the_manifest_names_is_shown_where_nobody_serves(project: Project) -> None:
    project.write("lightbus.yaml", "service_name: web\napis: {billing: {owner: billing-service}}\n")
    (api,) = status(project)["apis"]
    assert (api["name"], api["owner"], api["processes"]) == ("billing", "billing-service", [])


def test_apis_of_the_bus_itself_belong_to_each_service(project: Project) -> None:
    project.within("owner").host("--set", "plugins.internal_state.enabled=true")

    def is_shown() -> bool:
        (line,) = [it for it in project.run("status").stdout.splitlines() if "internal.state" in it] or [""]
        cells = re.split(r"\s{2,}", line.strip())
        assert cells[:5] == ["ok", "internal.state", "each service", "published", "-"]
        return True

    eventually(is_shown)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_where_one_redis_is_away_the_others_are_shown_and_it_is_named(
    project: Project, redis_server: Server, options: tuple[str, ...]
) -> None:
    apis = "apis: {auth: {}, gone: {redis: {url: 'redis://127.0.0.1:1/0'}}}"
    project.write("lightbus.yaml", f"service_name: web\n{apis}\n")
    redis_server.execute("XGROUP", "CREATE", "auth.*:stream", "shop-mailer", "0", "MKSTREAM")
    done = project.run("status", *options)
    assert done.returncode == 69
    assert "auth.*:stream" in done.stdout and "127.0.0.1:1/0 can't be reached" in done.stdout
    assert done.stderr.count("Redis at 127.0.0.1:1/0 can't be reached") == 1
    if options:
        assert [api["name"] for api in json.loads(done.stdout)["apis"]] == ["auth"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_live_view_goes_on_without_redis_until_ctrl_c(
    project: Project, redis_server: Server, options: tuple[str, ...]
) -> None:
    watching = project.start("status", "--watch", *options)
    watching.wait_for_line("isteners")
    redis_server.kill()
    watching.wait_for_line(f"127.0.0.1:{redis_server.port}")
    redis_server.start()
    redis_server.execute("XGROUP", "CREATE", "back.*:stream", "shop-mailer", "0", "MKSTREAM")
    redis_server.execute("SADD", "lightbus:streams", "back.*:stream")
    watching.wait_for_line("back.*:stream")
    watching.interrupt()
    assert watching.wait() == 130
    assert "Traceback" not in watching.output()


def test_the_owner_of_a_contract_that_nobody_of_this_version_stands_for_is_a_lightbus_1(
    project: Project, redis_server: Server
) -> None:
    redis_server.execute("SADD", "schemas", "auth")
    redis_server.execute("SET", "schema:auth", json.dumps({"events": {}, "rpcs": {}}), "EX", "60")
    assert [(api["is_1x"], api["is_published"]) for api in status(project)["apis"]] == [(True, True)]
    (line,) = [line for line in project.run("status").stdout.splitlines() if " auth " in line]
    assert "a Lightbus 1.x" in line and "not known (1.x)" in line


def test_processes_that_ended_are_said_to_have_and_many_are_one_row() -> None:
    ended = [
        ProcessStatus("shop", f"p{n:03}", listens=["mailer"], idle=9_000.0 + n, state="ended")
        for n in range(102)
    ]
    rows = list(
        _processes(
            [
                *ended,
                ProcessStatus("shop", "q", idle=2.0),
                ProcessStatus("web", "old", idle=300.0, state="unknown"),
            ]
        )
    )
    assert rows == [
        (Verdict("ok"), "shop", "q", (), (), "2 s ago"),
        (Verdict("ended", 1), "shop", "(102 more)", (), ("mailer",), "2 h ago"),
        (Verdict("1.x"), "web", "old", (), (), "5 min ago"),
    ]
    assert [row[2] for row in _processes(ended[:3])] == ["p000", "p001", "p002"]


def test_a_process_without_a_card_belongs_to_the_only_service_that_has_its_name() -> None:
    health = QueueStatus("internal.health", 0, 0, ("one", "both"))
    owners = {
        "internal.health": (),
        "auth": (Identity("accounts", "one"), Identity("accounts", "both")),
        "shop": (Identity("shop", "both"),),
    }
    found = processes(owners, [health], [], [], [])
    assert [(it.service, it.name, it.serves) for it in found] == [
        ("", "both", ["internal.health"]),
        ("accounts", "both", []),
        ("accounts", "one", ["internal.health"]),
        ("shop", "both", []),
    ]


def test_an_api_that_a_process_only_owns_or_only_serves_is_said_to_be() -> None:
    (row,) = _processes([ProcessStatus("shop", "p", owns=["a", "b"], serves=["b", "c"])])
    assert row[3] == ("a (owned only)", "b", "c (served only)")


MAILER = ListenerStatus("shop", "mailer", "shop.*:stream", 0, True, 0, 0, 0, ("p1",), group="shop-mailer")


@pytest.mark.parametrize(
    ("listener", "state"),
    [
        (MAILER, Verdict("ok")),
        (replace(MAILER, retrying=1), Verdict("retrying")),
        (replace(MAILER, dead=1), Verdict("dead", 1)),
        (replace(MAILER, is_served=False), Verdict("unserved", 1)),
        (replace(MAILER, is_served=False, lag=1), Verdict("unserved", 2)),
        (replace(MAILER, gone=1), Verdict("lost", 2)),
        (replace(MAILER, is_served=False, lag=1, paused="paused since noon"), Verdict("paused", 1)),
    ],
)
def test_a_word_says_how_a_listener_fares(listener: ListenerStatus, state: Verdict) -> None:
    assert _listener(listener)[0] == state


def test_readers_that_have_ended_are_counted() -> None:
    assert _listener(replace(MAILER, ended=102))[-1] == ("p1", "102 ended")
    assert _listener(replace(MAILER, processes=()))[-1] == ("nobody",)


LONG = "order-management-service"
CROWDED = Overview(
    [ProcessStatus(LONG, f"{LONG}-7f9c5d8b6-xk{n:02}lp", ["shop"], ["shop"], ["a", "b"]) for n in range(40)],
    [ApiStatus("shop.orders", LONG, True, (f"{LONG}-1", f"{LONG}-2"), 0, 1),
     ApiStatus("shop.refunds", LONG, True, (), 3, 0)],
    [replace(MAILER, name=f"{n}", group=f"{LONG}-send_invoices_{n}") for n in range(12)]
    + [replace(MAILER, group=f"{LONG}-old", is_served=False, lag=1_204_332, processes=())],
    [],
    [f"the group {LONG}-old: 1,204,332 unread; start its listener again, or remove the group"],
)  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_terminal_and_what_needs_help_comes_first(width: int) -> None:
    lines = [line.plain for line in screen(Look(CROWDED, 0.0), width)]
    assert max(map(len, lines)) <= width
    (titles,) = [n for n, line in enumerate(lines) if line.startswith("Listeners: 13, 1 in need of help")]
    assert lines[titles + 2].startswith("unserved") and "1,204,332" in lines[titles + 2]
    (titles,) = [n for n, line in enumerate(lines) if line.startswith("APIs: 2, 1 in need of help")]
    assert lines[titles + 2].startswith("stuck") and "shop.refunds" in lines[titles + 2]
    assert lines[-1].startswith("  ") or lines[-1].startswith("! the group")


def test_a_program_gets_whole_names() -> None:
    text = "\n".join(line.plain for line in screen(Look(CROWDED, 0.0), None))
    assert f"{LONG}-7f9c5d8b6-xk39lp" in text and "1204332" in text and "…" not in text


def test_a_live_screen_shows_something_of_each_table_below_its_clock_and_what_needs_help() -> None:
    lines = [line.plain for line in screen(Look(CROWDED, 0.0), 80, 24, "at 12:00:00")]
    assert len(lines) <= 25 and lines[0] == "at 12:00:00" and lines[2].startswith("! the group")
    tables = [line.partition(":")[0] for line in lines if line.startswith(("Processes", "APIs", "Listeners"))]
    assert tables == ["Processes", "APIs", "Listeners"]
    assert sum(line.endswith(" more)") for line in lines) == 2


def test_rates_are_those_since_the_look_before() -> None:
    seen = Overview([], [], [replace(MAILER, fired=100, read=90)], [])
    before = looked(seen, None)
    # So long ago that it does not matter how long this takes.
    earlier = replace(before, at=before.at - 10_000)
    later = looked(replace(seen, listeners=[replace(MAILER, fired=200_100, read=90)]), earlier)
    ((fired, read),) = later.rates.values()
    assert fired == pytest.approx(20, rel=0.02) and read == 0
    lines = [line.plain for line in screen(later, 120, 40, "at 12:00:00")]
    (row,) = [line for line in lines if "shop-mailer" in line]
    assert re.search(r" (19\.\d|20) +0 +p1$", row), row
    assert not looked(replace(seen, listeners=[MAILER]), before).rates[("shop", "mailer", "shop.*:stream")][0]


def test_a_live_screen_keeps_what_it_saw_last_while_redis_is_away() -> None:
    before = looked(CROWDED, None)
    lines = [
        line.plain for line in screen(Look(before.seen, before.at - 7_230, "no answer"), 80, 40, "at 12:00")
    ]
    assert lines[1:3] == ["no answer", "seen last 2 h ago:"]
    assert any(line.startswith("Listeners: 13") for line in lines)


def test_on_a_terminal_lines_fit_and_states_have_colours(project: Project, redis_server: Server) -> None:
    group = f"{LONG}-{LONG}-send_invoices"
    redis_server.execute("XGROUP", "CREATE", "auth.*:stream", group, "0", "MKSTREAM")
    redis_server.execute("XADD", "auth.*:stream", "*", "a", "b")
    for columns in (80, 120):
        code, output = on_terminal("status", cwd=project.folder, env=project.env, columns=columns)
        assert code == 0 and "\x1b[1;31munserved" in output
        assert max(len(line) for line in ESCAPES.sub("", output).splitlines()) <= columns
    code, output = on_terminal("status", cwd=project.folder, env={**project.env, "NO_COLOR": "1"})
    assert code == 0 and "\x1b" not in output and "unserved" in output
    shown = project.run("status").stdout
    assert group in shown and "\x1b" not in shown


def test_both_names_of_the_form_for_programs_give_the_same(project: Project) -> None:
    assert json.loads(project.run("status", "--format", "json").stdout) == status(project)


def test_a_process_that_ended_cleanly_is_not_listed(project: Project) -> None:
    project.within("mail-sender").host("-s", "mail-sender", "-p", "p2").terminate()
    look = status(project)
    assert look["processes"] == []
    assert [(it["processes"], it["ended"], it["is_served"]) for it in look["listeners"]] == [
        ([], 0, False)
    ] * 2


def test_a_process_that_died_is_said_to_have_ended_after_a_while(
    project: Project, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.within("mail-sender").host("-s", "mail-sender", "-p", "p2").kill()
    (process,) = status(project)["processes"]
    assert (process["name"], process["state"]) == ("p2", "alive"), "it was heard of just now"
    redis_server.execute("DEL", "lightbus:card:mail-sender:p2")  # as half a minute later
    monkeypatch.setattr(questions, "SILENT", 0.0)
    client = lightbus.create({"bus": {"redis": {"url": redis_server.url}}}, service_name="tests").client

    async def look() -> Overview:
        try:
            return await overview(client, (), {})
        finally:
            await client.close_async()

    found = asyncio.run(look())
    # The bus of this test may have a card by now, too.
    assert [(p.name, p.state) for p in found.processes if p.service != "tests"] == [("p2", "ended")]
    assert [(it.processes, it.ended) for it in found.listeners] == [((), 1)] * 2


@pytest.mark.parametrize(
    ("process", "state"),
    [
        (ProcessStatus("shop", "p", phase="ready"), Verdict("ok")),
        (ProcessStatus("shop", "p", phase="starting"), Verdict("starting", 1)),
        (ProcessStatus("shop", "p", phase="stopping", obstacles=("it stops",)), Verdict("stopping", 1)),
        (ProcessStatus("shop", "p", phase="ready", obstacles=("no Redis",)), Verdict("not ready", 2)),
    ],
)
def test_a_word_says_how_a_process_fares(process: ProcessStatus, state: Verdict) -> None:
    assert [row[0] for row in _processes([process])] == [state]


def test_versions_have_a_column_where_some_process_tells_its_own() -> None:
    processes = [ProcessStatus("shop", "p1", version="3.2"), ProcessStatus("web", "p2")]
    lines = [line.plain for line in screen(Look(Overview(processes, [], [], []), 0.0), 100)]
    assert re.search(r"process +version +APIs", lines[1])
    assert re.search(r"p1 +3\.2 ", lines[2]) and re.search(r"p2 +- ", lines[3])


NIGHTLY = ScheduleStatus("shop", "nightly", "0 2 * * *", "service", None, None, None, None, "", 0)


def test_schedules_are_shown_with_their_last_and_next_run() -> None:
    now = time.time()
    ran = replace(NIGHTLY, next_run=now + 7_300, started=now - 301, seconds=1.5, outcome="ok", process="p1")
    seen = [NIGHTLY, ran, replace(ran, outcome="error"), replace(ran, seconds=None, outcome=None, running=1)]
    lines = [line.plain for line in screen(Look(Overview([], [], [], [], [], seen), 0.0), None)]
    (start,) = [n for n, line in enumerate(lines) if line.startswith("Schedules: 4")]
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[start + 2 : start + 6]]
    assert [row[0] for row in rows] == ["failed", "ok", "ok", "running"]
    assert rows[0][3:] == ["0 2 * * *", "in 2 h", "5 min ago", "1.5 s", "p1"]
    assert rows[1][3:] == ["0 2 * * *", "-", "-", "-", "-"]
    assert "Schedules" not in "".join(line.plain for line in screen(Look(Overview([], [], [], []), 0.0), 80))


TICKING = """
import lightbus

bus = lightbus.create(service_name="ticking")

@bus.client.every(hours=5, name="tick", also_run_immediately=True)
def tick():
    print("ticked", flush=True)
"""


def test_schedules_are_listed_with_their_last_run(project: Project) -> None:
    project.write("ticking/bus.py", TICKING)
    ticking = project.within("ticking")
    ticking.host("-p", "p1").wait_for_line("ticked")

    def rows() -> list[dict[str, Any]]:
        done = ticking.run("schedule", "list", "--service", "ticking", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    # A card is written every ten seconds.
    eventually(lambda: [row["outcome"] for row in rows()] == ["ok"])
    (row,) = rows()
    assert (row["service"], row["name"], row["scope"], row["process"]) == ("ticking", "tick", "process", "p1")
    assert row["times"] == "every 18000 s" and row["next_run"] > row["started"]
    shown = ticking.run("schedule", "list").stdout
    assert re.search(r"ok +ticking +tick +every 18000 s +in [45] h", shown) and "1 schedule" in shown
    assert ticking.run("schedule", "list", "--service", "shop").stdout.endswith("0 schedules\n")


def test_a_terminal_needs_no_column_of_services_where_all_is_of_one() -> None:
    now = time.time()
    ours = OutboxStatus("shop", "django:default", "p1", now, 3, 754.0, 0)
    theirs = replace(ours, service="payments")
    for outboxes, width, is_there in (([ours], 80, False), ([ours, theirs], 80, True), ([ours], None, True)):
        seen = Overview([], [], [], [], outboxes=outboxes)
        text = "\n".join(line.plain for line in screen(Look(seen, now), width))
        assert ("shop" in text) == is_there and "stuck" in text


def test_the_process_that_can_be_told_to_run_schedules_is_one_row() -> None:
    queue = QueueStatus("internal.host.shop", 0, 0, ("p1",))
    card = Card(service="shop", process="p1")
    (row,) = processes({"internal.host.shop": ()}, [queue], [], [], [card])
    assert (row.service, row.serves) == ("shop", ["internal.host.shop"])
