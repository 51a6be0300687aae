"""Events in the console: searched, found where they are, watched as they come; nothing hidden leaves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lightbus.insight.traffic import pages
from lightbus.web import User, app, tails
from lightbus.web.console import Console
from tests.support.eventually import eventually_async
from tests.support.sabotage import How, Sabotage
from tests.support.servers import Server
from tests.web.bus import STREAM, shop
from tests.web.conftest import OURS, browsing, manifest
from tests.web.test_pages import read

#: A value that must never leave.
CANARY = "canary@example.com"


def prepare(server: Server, count: int = 0) -> None:
    """The shop, whose event has something sensitive, and so many events."""
    shop(server)
    server.execute("DEL", STREAM)
    properties = {"username": {"type": "string"}, "email": {"type": "string", "x-sensitive": True}}
    contract = {"rpcs": {}, "events": {"user_registered": {"parameters": {"properties": properties}}}}
    server.execute("SET", "schema:auth", json.dumps(contract))
    for number in range(count):
        fire(server, number)


def fire(server: Server, number: int, username: str = "") -> None:
    """Fire an event."""
    about = {"api_name": "auth", "event_name": "user_registered", "version": "1", "id": f"id-{number}"}
    kwargs = {":username": json.dumps(username or f"user-{number}"), ":email": json.dumps(CANARY)}
    fields = [part for pair in (about | kwargs).items() for part in pair]
    server.execute("XADD", STREAM, "*", *fields)


async def test_events_are_listed_the_newest_first_page_by_page(redis_server: Server) -> None:
    prepare(redis_server, 120)
    async with browsing(url=redis_server.url) as browser:
        path, seen = "/events", []
        for wanted in (50, 50, 20):
            answer = await browser.get(path)
            page = read(answer.text)
            names = [word.strip('",') for word in page.words.split() if word.startswith('"user-')]
            assert len(names) == wanted and CANARY not in answer.text and "•••" in page.words
            seen += names
            path = next((link for link in page.links if "place=" in link), "")
    assert seen == [f"user-{number}" for number in reversed(range(120))] and path == ""


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("where=username%3Duser-1", "user-1"),
        ("api=au*&event=user_*", "user-2"),
        ("api=shop", "No event that the brokers still have fits"),
        ("since=1h", "user-2"),
        # A search must not tell what is hidden.
        (f"where=email%3D{CANARY}", "No event that the brokers still have fits"),
    ],
)
async def test_events_are_searched_for_by_what_may_be_seen(
    redis_server: Server, query: str, told: str
) -> None:
    prepare(redis_server, 3)
    async with browsing(url=redis_server.url) as browser:
        answer = await browser.get(f"/events?{query}")
    assert answer.status_code == 200 and told in read(answer.text).words
    assert "user-0" not in answer.text or "where" not in query


@pytest.mark.parametrize("query", ["where=nonsense", "since=soon", "version=x", "place=x"])
@pytest.mark.parametrize("path", ["/events", "/events.jsonl"])
async def test_a_search_that_can_not_be_is_refused_in_words(
    redis_server: Server, path: str, query: str
) -> None:
    async with browsing(url=redis_server.url) as browser:
        answer = await browser.get(f"{path}?{query}")
    assert answer.status_code == 422 and "is no " in read(answer.text).words


async def test_a_bus_without_events_says_how_to_fire_one(redis_server: Server) -> None:
    async with browsing(url=redis_server.url) as browser:
        assert "Fire one with lightbus fire" in read((await browser.get("/events")).text).words


async def test_a_file_of_events_has_a_line_for_each_with_nothing_hidden(redis_server: Server) -> None:
    prepare(redis_server, 3)
    async with browsing(url=redis_server.url) as browser:
        answer = await browser.get("/events.jsonl?where=username!%3Duser-1")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["kwargs"] for line in lines] == [{"username": f"user-{n}", "email": "•••"} for n in (2, 0)]
    assert "attachment" in answer.headers["content-disposition"]


async def test_an_event_says_where_it_is(redis_server: Server) -> None:
    prepare(redis_server, 2)
    for group in ("shop-mailer", "shop-welcome"):
        redis_server.execute("XGROUP", "CREATE", STREAM, group, "0")
    redis_server.execute("XREADGROUP", "GROUP", "shop-mailer", "shop-1", "COUNT", 1, "STREAMS", STREAM, ">")
    async with browsing(url=redis_server.url) as browser:
        answer = await browser.get("/events/id-0")
        words = read(answer.text).words
        assert "in work shop-mailer held by shop-1" in words and "not read shop-welcome not read yet" in words
        assert CANARY not in answer.text and '"username": "user-0"' in words
        assert "lightbus inspect --id id-0" in words
        assert (await browser.get("/events/none")).status_code == 404


async def test_a_search_says_how_far_it_has_looked_and_goes_on_from_there(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_QUICK", 0.0)
    monkeypatch.setattr(pages, "_LEAST", 2)
    prepare(redis_server, 5)
    async with browsing(url=redis_server.url) as browser:
        for address in ("/events/id-0", "/events?where=username%3Duser-0"):
            told = []
            for _ in range(3):
                page = read((await browser.get(address)).text)
                told.append(page.words)
                address = next((link for link in page.links if re.search("before=|place=", link)), "")
            assert "the newest 2 events" in told[0] and "the next 2 events" in told[1], told
            assert "user-0" in told[2] and not address
        absent = "/events/none"
        for status in (200, 200, 404):
            answer = await browser.get(absent)
            assert answer.status_code == status
            absent = next((link for link in read(answer.text).links if "before=" in link), "")


class Watcher:
    """A browser that watches events, as ASGI sees it.

    Args:
        console: The console.
        query: Which events.
        path: The address, where another answer comes piece by piece.
    """

    def __init__(self, console: Console, query: str = "", path: str = "/tail/stream") -> None:
        self.text = ""
        self.is_gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        headers = [(b"host", b"localhost:8098"), (b"x-user", b"ann")]
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "headers": headers, "client": ("127.0.0.1", 1), "root_path": "",
            "scheme": "http", "server": ("localhost", 8098), "http_version": "1.1",
            "asgi": {"version": "3.0", "spec_version": "2.1"},
        }  # fmt: skip
        self.task = asyncio.create_task(console(scope, self._receive, self._send))
        self._is_sent = False

    async def _receive(self) -> dict[str, Any]:
        if not self._is_sent:
            self._is_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        self.text += message.get("body", b"").decode()


@asynccontextmanager
async def console(server: Server, *settings: str, resolve: Any = None) -> AsyncIterator[Console]:
    it = app(manifest(*settings, url=server.url), resolve)
    try:
        yield it
    finally:
        await it.close_async()


async def watched(it: Watcher, server: Server, number: int) -> None:
    """Fire until it is seen: it takes a moment until somebody who comes is served."""

    def is_seen() -> bool:
        fire(server, number)
        return f"user-{number}" in it.text

    await eventually_async(lambda: asyncio.to_thread(is_seen))


async def test_events_are_watched_as_they_come_with_nothing_hidden(redis_server: Server) -> None:
    prepare(redis_server, 1)
    async with console(redis_server) as it:
        all_, one = Watcher(it), Watcher(it, "where=username%3Duser-2")
        await watched(all_, redis_server, 1)
        await watched(one, redis_server, 2)
        await watched(all_, redis_server, 2)
        assert "user-1" not in one.text and "user-0" not in all_.text, "neither others nor those before"
        assert CANARY not in all_.text + one.text and "•••" in all_.text
        assert "event: rows\ndata: " in all_.text
        for each in (all_, one):
            each.is_gone.set()
            await each.task
        assert it._looks.tails._tails == set()
        following = it._looks.tails._following
        assert following is not None
        await asyncio.wait([following])


async def test_no_more_than_the_rate_is_shown_and_the_others_are_counted(redis_server: Server) -> None:
    prepare(redis_server)
    async with console(redis_server, "web.tail_rate=4") as it:
        watcher = Watcher(it)
        await watched(watcher, redis_server, 0)
        for number in range(200):
            fire(redis_server, 1000 + number, "x\r\ndata: evil")
        await eventually_async(lambda: asyncio.to_thread(lambda: " more<" in watcher.text))
        assert max(part.count("<tr>") for part in watcher.text.split("\n\n")) <= 3, "two events, and a count"
        assert not [line for line in watcher.text.splitlines() if line.startswith("data: evil")]
        watcher.is_gone.set()
        await watcher.task


async def test_a_watcher_that_takes_nothing_costs_nothing_and_keeps_nobody_waiting(
    redis_server: Server,
) -> None:
    prepare(redis_server)
    async with console(redis_server) as it:
        slow, quick = Watcher(it), Watcher(it)
        await watched(slow, redis_server, 0)
        slow.takes.clear()
        for number in range(300):
            fire(redis_server, 1000 + number)
        await watched(quick, redis_server, 1)
        assert max(len(each._kept) for each in it._looks.tails._tails) <= 25
        for each in (slow, quick):
            each.takes.set()
            each.is_gone.set()
            await each.task


async def test_one_watcher_too_many_is_told_so(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(redis_server)
    monkeypatch.setattr(tails, "MOST", 1)
    async with console(redis_server) as it:
        first = Watcher(it)
        await watched(first, redis_server, 0)
        second = Watcher(it)
        await second.task
        assert "others watch already" in second.text
        first.is_gone.set()
        await first.task


async def test_whoever_may_look_no_longer_watches_no_longer(redis_server: Server) -> None:
    prepare(redis_server)
    known = {"ann"}
    async with console(redis_server, resolve=lambda scope: User("ann") if known else None) as it:
        watcher = Watcher(it)
        await watched(watcher, redis_server, 0)
        known.clear()
        await asyncio.wait_for(watcher.task, 30)


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_events_are_watched_again_whatever_has_ended_that(redis_server: Server, how: How) -> None:
    prepare(redis_server)
    async with console(redis_server) as it:
        sabotage = Sabotage("lightbus console following", how)
        watcher = Watcher(it)
        await watched(watcher, redis_server, 0)
        assert sabotage.is_done
        watcher.is_gone.set()
        await watcher.task


async def test_the_page_of_those_that_come_connects_to_them(redis_server: Server) -> None:
    async with browsing("web.tail_rate=7", url=redis_server.url) as browser:
        answer = await browser.get("/tail?api=auth&where=a%3D1", headers=OURS)
        assert 'sse-connect="/tail/stream?api=auth&amp;where=a%3D1"' in answer.text
        assert "at most 7 a second" in read(answer.text).words
