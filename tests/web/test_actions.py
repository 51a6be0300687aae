"""What the actions do, and how they ask, refuse, note and tell it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from lightbus.host.checks import client_for
from lightbus.insight.audit import acts
from lightbus.transports.audit import Act
from lightbus.transports.groups import SILENT
from lightbus.web import User
from tests.host.conftest import Bench, Hosted
from tests.support.servers import Server
from tests.web.bus import EVIL, STREAM, shop, show_group
from tests.web.conftest import OURS, browsing, manifest
from tests.web.test_pages import read
from tests.web.test_roles import as_, by_header, entries

ALL = "web.allow=pause,seek,move,remove,run_schedule"
WELCOME = {"target": "shop-welcome"}
#: What a browser sends with a form where no script runs.
PLAIN = {"Origin": "http://localhost:8098", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


class Answer(NamedTuple):
    """What somebody is answered who sends a form, with the page that follows."""

    status: int
    words: str
    path: str


async def take(server: Server, name: str, form: dict[str, str]) -> Answer:
    """Send a form, and go to the page that it leads to."""
    async with browsing(ALL, url=server.url) as browser:
        sent = await browser.post(f"/actions/{name}", data=form, headers=OURS)
        to = sent.headers.get("location", "")
        page = await browser.get(to) if to else sent
    return Answer(sent.status_code, read(page.text).words, to.partition("?")[0])


async def noted(server: Server) -> list[Act]:
    """What the audit has, the newest first."""
    client = client_for(manifest(url=server.url))
    try:
        return await acts(client)
    finally:
        await client.close_async()


def groups(server: Server) -> dict[str, str]:
    """The groups of the stream, with the last id that each has read."""
    found: Any = server.execute("XINFO", "GROUPS", STREAM)
    each = [dict(zip(it[::2], it[1::2], strict=True)) for it in found]
    return {it[b"name"].decode(): it[b"last-delivered-id"].decode() for it in each}


async def test_a_listener_is_paused_for_a_time_and_goes_on(redis_server: Server) -> None:
    shop(redis_server)
    done = await take(redis_server, "pause", {**WELCOME, "until": "2h"})
    assert (done.status, done.path) == (303, "/listeners/shop-welcome")
    assert "shop-welcome is paused until 20" in done.words and "No process runs it now" in done.words
    assert "Resume" in done.words and "It is paused" in done.words and "by anonymous" in done.words
    done = await take(redis_server, "resume", WELCOME)
    assert done.status == 303 and "shop-welcome goes on." in done.words and "It is paused" not in done.words
    done = await take(redis_server, "resume", WELCOME)
    assert done.status == 409 and "the listener shop-welcome is not paused." in done.words
    done = await take(redis_server, "pause", {**WELCOME, "until": "yesterday"})
    assert done.status == 422 and "'yesterday' is no time to come" in done.words
    assert [act.action for act in await noted(redis_server)] == ["listener.resume", "listener.pause"]


async def test_what_would_be_done_is_told_before_it_is(redis_server: Server) -> None:
    shop(redis_server)
    before = groups(redis_server)
    asked = await take(redis_server, "seek", WELCOME)
    assert asked.status == 422 and "Fill in: From where." in asked.words
    asked = await take(redis_server, "seek", {**WELCOME, "to": "end"})
    assert (
        asked.status == 200 and "auth.*:stream: reads on with the next event; 3 unread events" in asked.words
    )
    asked = await take(redis_server, "move", {**WELCOME, "to": "shop-greet"})
    assert asked.status == 200 and "3 unread" in asked.words and "go to shop-greet" in asked.words
    asked = await take(redis_server, "remove", WELCOME)
    assert asked.status == 200 and "3 unread, 0 pending" in asked.words and "gone for good" in asked.words
    assert groups(redis_server) == before and entries(redis_server) == 0
    sure = {**WELCOME, "confirmed": "yes"}
    done = await take(redis_server, "seek", {**sure, "to": "end"})
    assert (done.status, done.path) == (303, "/listeners/shop-welcome")
    assert groups(redis_server)["shop-welcome"] != before["shop-welcome"]
    done = await take(redis_server, "move", {**sure, "to": "shop-greet"})
    assert (done.status, done.path) == (303, "/listeners/shop-greet")
    assert "shop-greet" in groups(redis_server) and "shop-welcome" not in groups(redis_server)
    done = await take(redis_server, "remove", {**sure, "target": "shop-greet", "because": "not needed"})
    assert (done.status, done.path) == (303, "/listeners") and "shop-greet was removed" in done.words
    assert groups(redis_server).keys() == {"shop-mailer"}


@pytest.mark.parametrize(
    ("name", "form", "status", "told"),
    [
        ("remove", {**WELCOME, "confirmed": "yes"}, 422, "Say why"),
        ("remove", {**WELCOME, "confirmed": "yes", "because": "a" * 501}, 422, "more than 500 letters"),
        ("remove", {**WELCOME, "confirmed": "no", "because": "a"}, 422, "Type yes if you mean it"),
        ("remove", {"confirmed": "yes", "because": "a"}, 422, "Fill in: target"),
        ("remove", {"target": "shop-welcom", "confirmed": "yes", "because": "a"}, 409, "there is no group"),
        ("seek", {**WELCOME, "to": "nowhere", "confirmed": "yes"}, 422, "'nowhere' is no place"),
        ("move", {**WELCOME, "to": "shop-welcome", "confirmed": "yes"}, 422, "can't take its place"),
        ("pause", {"target": "nobody"}, 409, "there is no listener 'nobody'"),
        ("run_schedule", {"target": "none"}, 409, "there is no schedule 'none'"),
        ("run_schedule", {"target": "close"}, 409, "lets nobody run its schedules from elsewhere"),
        ("pause_schedule", {"target": "clos"}, 409, "there is no schedule 'clos'; did you mean close?"),
        ("pause_schedule", {"target": "close", "until": "soon"}, 422, "'soon' is no time to come"),
        ("resume_schedule", {"target": "close"}, 409, "the schedule close of shop is not paused."),
        ("pause", {}, 422, "Fill in: target"),
    ],
)
async def test_a_form_that_can_not_be_done_is_shown_again_with_the_reason(
    redis_server: Server, name: str, form: dict[str, str], status: int, told: str
) -> None:
    shop(redis_server)
    before = groups(redis_server)
    answer = await take(redis_server, name, form)
    assert answer.status == status and told in answer.words
    assert groups(redis_server) == before
    assert [act.outcome for act in await noted(redis_server)] in ([], ["refused"])


@pytest.mark.parametrize("name", ["seek", "move", "remove"])
async def test_nothing_is_done_to_a_group_that_a_process_reads(redis_server: Server, name: str) -> None:
    form = {**WELCOME, "to": "start", "confirmed": "yes", "because": "a"}
    form |= {"to": "shop-greet"} if name == "move" else {}
    while True:
        redis_server.execute("FLUSHALL")
        shop(redis_server)
        read = ("XREADGROUP", "GROUP", "shop-welcome", "shop-1", "COUNT", "1", "STREAMS", STREAM, ">")
        redis_server.execute(*read)
        before, began = groups(redis_server), int(redis_server.execute("TIME")[0])
        answer = await take(redis_server, name, form)
        # Where a machine stands still meanwhile, it is allowed: nobody has heard of the process for a minute.
        if int(redis_server.execute("TIME")[0]) - began < SILENT - 1:
            break
    assert answer.status == 409 and "shop-1 reads the group shop-welcome" in answer.words
    assert "stop it first" in answer.words and groups(redis_server) == before


async def test_the_audit_says_who_did_what_and_why(redis_server: Server) -> None:
    shop(redis_server)
    proxy = ("web.auth=proxy", "web.trusted_proxies=10.0.0.0/8", "web.role_header=X-Role")
    form = {**WELCOME, "confirmed": "yes", "because": "nobody needs it"}
    headers = {**as_("ops"), "X-Forwarded-User": "ann", "X-Forwarded-For": "1.1.1.1, 192.0.2.7"}
    async with browsing(*proxy, "web.roles.ops=remove", url=redis_server.url, client="10.0.0.1") as browser:
        assert (await browser.post("/actions/remove", data=form, headers=headers)).status_code == 303
    (act,) = await noted(redis_server)
    assert (act.user, act.role, act.origin, act.address) == ("ann", "ops", "console", "192.0.2.7")
    assert (act.action, act.target, act.outcome) == ("group.rm", "shop-welcome", "done")
    assert act.reason == "nobody needs it"


@pytest.mark.parametrize("name", ["pause", "seek", "move", "remove"])
async def test_what_can_not_be_noted_is_not_done(redis_server: Server, name: str) -> None:
    shop(redis_server)
    redis_server.execute("SET", "lightbus:audit", "no stream")
    before = groups(redis_server)
    form = {**WELCOME, "confirmed": "yes", "because": "a"}
    to = {"seek": {"to": "end"}, "move": {"to": "shop-greet"}}.get(name, {})
    answer = await take(redis_server, name, form | to)
    assert answer.status == 503 and "is not done, since it can't be noted" in answer.words
    assert groups(redis_server) == before
    assert redis_server.execute("KEYS", "lightbus:pause*") == []


async def test_it_is_told_to_nobody_else(redis_server: Server) -> None:
    shop(redis_server)
    async with browsing("web.roles.ops=pause", url=redis_server.url, resolve=by_header) as browser:
        sent = await browser.post("/actions/pause", data=WELCOME, headers=as_("ops"))
        to = sent.headers["location"]
        told = [
            "shop-welcome is paused." in read((await browser.get(at, headers=headers)).text).words
            for at, headers in (
                (to, as_("ops")),
                (to, as_("ops")),  # as when it renews itself
                (to, as_("ops", **{"X-User": "bob"})),
                (to, as_("dev")),
                (to[:-1], as_("ops")),
                (to.partition("?")[0], as_("ops")),
            )
        ]
    assert told == [True, True, False, False, False, False]


async def test_it_works_where_no_script_runs(redis_server: Server) -> None:
    shop(redis_server)
    settings = (ALL, "web.auth=token", "web.token_file=tests/web/tokens.txt")
    async with browsing(*settings, url=redis_server.url) as browser:
        login = await browser.post("/login", data={"token": "ann-0123456789abcdefghij"}, headers=PLAIN)
        assert (login.status_code, login.headers["location"]) == (303, "/")
        paused = await browser.post("/actions/pause", data=WELCOME, headers=PLAIN)
        assert paused.status_code == 303
        cross = {**PLAIN, "Sec-Fetch-Site": "cross-site"}
        assert (await browser.post("/actions/resume", data=WELCOME, headers=cross)).status_code == 403
        # An old browser says less; then only a script of ours can do it.
        old = {"Origin": PLAIN["Origin"], "Sec-Fetch-Mode": "navigate"}
        assert (await browser.post("/actions/resume", data=WELCOME, headers=old)).status_code == 403
        out = await browser.post("/logout", headers=PLAIN)
        assert (out.status_code, out.headers["location"]) == (303, "/")
        assert (await browser.get("/")).status_code == 401


async def test_a_form_of_anything_is_text(redis_server: Server) -> None:
    async with browsing(ALL, url=redis_server.url) as browser:
        for evil in EVIL:
            form = {"target": evil, "to": evil, "until": evil, "because": evil, "service": evil}
            for name in ("pause", "seek", "move", "remove", "run_schedule", "pause_schedule"):
                for answer in (
                    await browser.get(f"/actions/{name}", params=form),
                    await browser.post(f"/actions/{name}", data=form, headers=OURS),
                ):
                    page = read(answer.text)
                    assert answer.text.count("<script") == 2 and page.tags.isdisjoint({"img", "iframe"})
                    assert {each for each in page.attributes if each.startswith("on")} == set()
                    assert {link for link in page.links if not link.startswith(("/", "#"))} == set()
    assert entries(redis_server) == 0


async def test_what_was_done_is_text(redis_server: Server) -> None:
    evil = EVIL[0]
    show_group(redis_server, f"{evil}-{evil}")
    done = await take(redis_server, "seek", {"target": f"{evil}-{evil}", "to": "end", "confirmed": "yes"})
    assert done.status == 303 and f"{evil}-{evil} reads on from end." in done.words


async def test_a_schedule_is_begun_by_a_process_of_its_service(bench: Bench, redis_server: Server) -> None:
    text = "bus: {remote_control: true}\nschedules: {tick: {every: 1h, call: 'tests.host.shop:tick'}}\n"
    host: Hosted = bench.host(f"process_name: one\n{text}")
    async with host:
        done = await take(redis_server, "run_schedule", {"target": "tick", "service": "shop"})
    assert done.status == 303 and "tick of shop was begun by one." in done.words
    (act,) = await noted(redis_server)
    assert (act.action, act.target, act.outcome) == ("schedule.run", "shop:tick", "done")


async def test_a_schedule_is_paused_for_a_time_and_runs_again(bench: Bench, redis_server: Server) -> None:
    text = "schedules: {tick: {every: 1h, call: 'tests.host.shop:tick'}}\n"
    form = {"target": "tick", "service": "shop"}
    async with bench.host(f"process_name: one\n{text}"):
        done = await take(redis_server, "pause_schedule", {**form, "until": "2h", "because": "a move"})
        assert (done.status, done.path) == (303, "/schedules"), done.words
        assert "tick of shop is paused until 20" in done.words and "No process" not in done.words
        assert "paused tick shop paused since" in done.words and "by anonymous until 20" in done.words
        assert "Resume" in done.words
        done = await take(redis_server, "resume_schedule", form)
        assert done.status == 303 and "tick of shop runs again at its times." in done.words
        assert "paused since" not in done.words and "Resume" not in done.words
    resumed, paused = await noted(redis_server)
    assert (resumed.action, paused.action) == ("schedule.resume", "schedule.pause")
    assert (paused.target, paused.outcome, paused.reason) == ("shop:tick", "done", "a move")


async def test_a_listener_that_runs_is_paused_and_says_so(bench: Bench, redis_server: Server) -> None:
    listening = "listeners: {greet: {events: [shop.sold], handler: 'tests.host.shop:note'}}\n"
    async with bench.host(f"process_name: one\n{listening}"):
        done = await take(redis_server, "pause", {"target": "shop-greet"})
        assert done.status == 303 and "shop-greet is paused." in done.words and "No process" not in done.words
        done = await take(redis_server, "resume", {"target": "shop-greet"})
        assert done.status == 303 and "shop-greet goes on." in done.words


async def test_an_action_takes_no_other_method(redis_server: Server) -> None:
    async with browsing(ALL, url=redis_server.url) as browser:
        for method in ("PUT", "DELETE", "PATCH", "NONSENSE"):
            answer = await browser.request(method, "/actions/pause", headers=OURS)
            assert answer.status_code == 405
        assert (await browser.post("/actions/nothing", headers=OURS)).status_code == 404


async def test_it_is_not_done_by_somebody_who_is_not_known() -> None:
    async with browsing(ALL, resolve=lambda scope: None) as browser:
        assert (await browser.post("/actions/pause", data=WELCOME, headers=OURS)).status_code == 403
    async with browsing(ALL, resolve=lambda scope: User("ann")) as browser:
        assert (await browser.get("/actions/pause", params=WELCOME)).status_code == 200
