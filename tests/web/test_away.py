"""The console while Redis is away: what was seen last, with its age, and how it goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable
from html import unescape
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlencode

import pytest
import redis

from lightbus.web import looks, tails
from lightbus.web.console import Console
from tests.conftest import StartCluster, StartServer
from tests.support.eventually import eventually, eventually_async
from tests.support.pair import Pair
from tests.support.servers import Server
from tests.support.several import behind_sentinel
from tests.support.spread import Spread
from tests.web.bus import STREAM, show_group
from tests.web.conftest import OURS
from tests.web.routes import asking, everything, wishes
from tests.web.test_dead import put_aside
from tests.web.test_events import Watcher, prepare, watched
from tests.web.test_pages import read

#: Files, and what has no page of its own: these show nothing that is old, or say how old it is.
_NO_PAGES = ("/events.jsonl", "/tail/stream", "/dead/export", "/contracts/{name:path}", "/metrics", "/static")
#: The pages that are looked at where a Redis of several servers loses one.
_STAYING = ("/", "/listeners", "/events", "/dead")
_SOON = ("web.refresh=1s",)
#: A Redis that says nothing is soon held for dead.
_IMPATIENT = ("bus.redis.command_timeout=1s", "bus.redis.connect_timeout=1s")


@pytest.fixture(autouse=True)
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_PATIENCE", 1.0)


@pytest.mark.parametrize("how", ["ended", "frozen"])
async def test_each_page_shows_what_it_has_shown_last(
    how: Literal["ended", "frozen"], start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "MOST", 0)
    server = start_server()
    await everything(server)
    settings = (*_SOON, "web.allow=replay", *(_IMPATIENT if how == "frozen" else ()))
    async with asking(*settings, url=server.url) as (console, browser):
        every = [wish for wish in wishes(console) if wish.method == "GET" and not wish.needs]
        pages = [wish.path for wish in every if not wish.path.startswith(tuple(_plain()))]
        before = {path: await words_of_now(browser, path) for path in pages}
        if how == "ended":
            server.kill()
        else:
            server.pause()

        async def is_told() -> bool:
            return "can't be read now" in await words(browser, "/")

        await eventually_async(is_told)
        for path in pages:
            now = await words(browser, path)
            assert "The bus can't be read now. This is how it was" in now, path
            assert "goes on by itself" in now or "tries again by itself" in now
            assert lost(before[path], now) == [], path
        metrics = (await browser.get("/metrics")).text
        assert "lightbus_bus_readable 0" in metrics and "lightbus_bus_listener_lag{" not in metrics
        assert float(metrics.rpartition("age_seconds ")[2].split()[0]) > 0
        for path in ("/events.jsonl", "/dead/export", "/audit?user=somebody-else", "/events/other"):
            answer = await browser.get(path)
            assert answer.status_code == 503 and "can't be read now" in read(answer.text).words, path
        if how == "ended":
            server.restart()
            await everything(server)
        else:
            server.resume()
        await go_on(browser, pages)


async def test_whoever_watches_events_is_told_that_they_can_not_be_read_and_sees_those_that_come_later(
    start_server: StartServer,
) -> None:
    server = start_server()
    prepare(server)
    async with asking(*_SOON, url=server.url) as (console, _):
        watcher = Watcher(console)
        await watched(watcher, server, 1)
        server.kill()
        await told(watcher, "can't be read now")
        assert "Redis at 127.0.0.1" in unescape(watcher.text)
        server.restart()
        prepare(server)
        await told(watcher, "can be read again")
        assert unescape(watcher.text).count("can't be read now") == 1, "once, whatever the reason is by then"
        await watched(watcher, server, 2)
        watcher.is_gone.set()
        await watcher.task


async def told(watcher: Watcher, words: str) -> None:
    """Wait until somebody who watches was told something."""
    await eventually_async(lambda: asyncio.to_thread(lambda: words in unescape(watcher.text)))


async def test_what_another_broker_has_is_shown_while_one_is_away(
    redis_server: Server, start_server: StartServer
) -> None:
    other = start_server()
    await everything(redis_server)
    show_group(other, "elsewhere-audit", "stock.*:stream")
    own = f"apis.stock.event_transport.redis.url={other.url}"
    async with asking(*_SOON, own, url=redis_server.url) as (_, browser):
        assert {"mailer", "stock.*"} <= set((await words(browser, "/listeners")).split())
        other.kill()

        async def is_told() -> bool:
            return f"Redis at {other.url[8:]}" in await words(browser, "/")

        await eventually_async(is_told)
        listeners = await words(browser, "/listeners")
        assert "mailer" in listeners and "stock.*" not in listeners and "can't be read now" not in listeners
        assert "auth." in await words(browser, "/events")
        # Nobody knows whether it is there, and how many there are.
        for path in ("/events/other", "/dead/export"):
            assert (await browser.get(path)).status_code == 503, path


async def test_the_pages_of_a_cluster_stay_while_a_primary_is_away(start_cluster: StartCluster) -> None:
    cluster = start_cluster(replicas=0, aof=True)
    await everything(cast(Server, Spread(cluster)))
    node = cluster.owner(STREAM)
    async with asking(*_SOON, url=cluster.url) as (_, browser):
        await stay(browser, node.kill)
        assert (await browser.get("/events.jsonl")).status_code == 503
        node.start()
        cluster.wait_until_whole()
        await go_on(browser)


async def test_pages_stay_while_a_primary_is_away_and_go_on_once_sentinel_has_promoted_another(
    tmp_path: Path,
) -> None:
    with contextlib.ExitStack() as stack:
        pair = stack.enter_context(Pair())
        pair.reset()
        several = stack.enter_context(behind_sentinel(pair.primary, tmp_path))
        (node,) = several.redis["sentinel"]["nodes"]
        port = int(node.rpartition(":")[2])
        with redis.Redis(port=port) as sentinel:
            # It promotes when it is told to: not before each page was looked at.
            sentinel.execute_command("SENTINEL SET", "main", "down-after-milliseconds", 600_000)
            eventually(lambda: _has_replica(sentinel), 60, "a Sentinel that knows the replica")
            await everything(pair.primary)
            pair.primary.execute("SET", "in step", 1)
            eventually(lambda: pair.replica.execute("GET", "in step"), 60, "a replica in step")
            settings = ("bus.redis.sentinel.service=main", f"bus.redis.sentinel.nodes={node}")
            async with asking(*_SOON, *settings) as (_, browser):
                await stay(browser, pair.primary.kill)
                sentinel.execute_command("SENTINEL FAILOVER", "main")
                await go_on(browser)
                assert pair.replica.execute("ROLE")[0] == b"master"
                await asyncio.to_thread(pair.replica.execute, "DEL", "{auth.*:stream}:dead:shop-mailer")

                async def is_new() -> bool:
                    return "No event was put aside" in await words(browser, "/dead")

                await eventually_async(is_new)


def _has_replica(sentinel: redis.Redis) -> bool:
    """Tell whether a Sentinel may promote a replica, of which it has heard from that itself."""
    found: Any = sentinel.sentinel_slaves("main")
    return [each["master-link-status"] for each in found] == ["ok"]


async def stay(browser: object, take_away: Callable[[], None]) -> None:
    """See that pages show what they have shown last once a Redis was taken away."""
    before = {path: await words_of_now(browser, path) for path in _STAYING}
    assert "mailer" in before["/listeners"] and "auth." in before["/events"]
    take_away()
    for path in before:

        async def is_old(path: str = path) -> bool:
            return "This is how it was" in await words(browser, path)

        await eventually_async(is_old)
        assert lost(before[path], await words(browser, path)) == [], path


async def go_on(browser: object, pages: Iterable[str] = _STAYING) -> None:
    """See that pages go on by themselves."""
    for path in pages:
        await words_of_now(browser, path)


async def words_of_now(browser: object, path: str) -> str:
    """The words of a page, once it shows what is on the bus now: a Redis that is held up counts as away."""

    async def new_words() -> str:
        found = await words(browser, path)
        return "" if "can't be read now" in found else found

    return await eventually_async(new_words)


class _Cut(Watcher):
    """Somebody who gets an answer while the server ends from which it is read.

    Args:
        server: The server.
        path: The address.
        query: Its query.
    """

    def __init__(self, console: Console, server: Server, path: str, query: str) -> None:
        self._server = server
        super().__init__(console, query, path)

    async def _send(self, message: Any) -> None:
        if message.get("body") and not self.text:
            self._server.kill()
        await super()._send(message)


async def test_a_file_that_is_not_whole_says_so_in_its_last_line(start_server: StartServer) -> None:
    server = start_server()
    put_aside(server, 5_000)
    query = urlencode({"confirmed": "5,000", "because": "a report"})
    async with asking(*_SOON, url=server.url) as (console, _):
        browser = _Cut(console, server, "/dead/export", query)
        await browser.task
    lines = [json.loads(line) for line in browser.text.splitlines()]
    assert 1 < len(lines) < 5_000 and all("kwargs" in line for line in lines[:-1])
    why = lines[-1]["incomplete"]
    assert why.startswith("the file ends here: ") and "Redis at 127.0.0.1" in why


async def test_what_waits_for_a_broker_that_is_away_is_not_done_behind_ones_back(
    start_server: StartServer,
) -> None:
    server = start_server()
    await everything(server)
    async with asking(*_SOON, "web.allow=fire", url=server.url) as (_, browser):
        form = {"target": "auth.user_registered", "/username": "ann", "confirmed": "yes"}
        assert "was fired" in read((await browser.post("/actions/fire", data=form, headers=OURS)).text).words
        server.kill()
        answer = await browser.post("/actions/fire", data=form, headers=OURS)
        assert answer.status_code in (502, 503), answer.text
        server.restart()
        await everything(server)
        before = server.execute("XLEN", STREAM)

        async def is_well() -> bool:
            return bool((await browser.get("/events")).status_code == 200)

        await eventually_async(is_well)
        assert server.execute("XLEN", STREAM) == before


def _plain() -> list[str]:
    return [path.partition("{")[0] for path in _NO_PAGES]


def lost(before: str, now: str) -> list[str]:
    """The words of a page that it shows no more; but for times, which may have been "just now"."""
    return [word for word in before.split() if word not in now and not word.isdecimal() and word != "just"]


async def words(browser: object, path: str) -> str:
    """The words of a page, which is there as a whole."""
    answer = await browser.get(path)  # type: ignore[attr-defined]
    assert answer.status_code == 200, (path, answer.text)
    return read(answer.text).words
