"""The pages of dead letters: nothing sensitive is shown, acts do what they say, and many outlast it."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest

from lightbus.host.checks import client_for
from lightbus.insight.audit import acts
from tests.conftest import IS_WHOLE
from tests.guide.project import Project
from tests.support.breaking import Break, BreakingProxy
from tests.support.eventually import eventually, eventually_async
from tests.support.sabotage import How, Sabotage
from tests.support.servers import Server, free_port
from tests.web.conftest import OURS, browsing, manifest
from tests.web.test_pages import read
from tests.web.test_server import start

CANARY = "Canary-4711"
STREAM, GROUP = "auth.*:stream", "shop-mailer"
DEAD, RETRY = f"{{{STREAM}}}:dead:{GROUP}", f"{{{STREAM}}}:retry:{GROUP}"
PLACE = {"id": "1764000000000-0", "place": DEAD}
CONTRACT = {
    "rpcs": {},
    "events": {
        "registered": {
            "parameters": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "email": {"type": "string", "x-sensitive": True},
                    "more": {"type": "object"},
                },
                "required": ["name", "email"],
                "additionalProperties": False,
            }
        }
    },
}
TRACE = f'Traceback:\n  File "/shop.py", line 7, in mail\n    send()\nValueError: no mail to {CANARY}\n'
FIELDS = [
    "id", "ev", "api_name", "auth", "event_name", "registered", "version", "1", ":name", '"Ann"',
    ":email", json.dumps(CANARY), ":more", json.dumps({"apiKey": CANARY}),
    "reason", "failed", "error", f"ValueError('no mail to {CANARY}')", "trace", TRACE, "attempts", "3",
]  # fmt: skip
ALL = "web.allow=replay,drop,edit,reveal"
#: Adds so many letters as one command.
MANY = """for i = 1, tonumber(ARGV[1]) do
  local fields = {}
  for j = 2, #ARGV do fields[#fields + 1] = ARGV[j] end
  fields[#fields + 1] = 'origin'
  fields[#fields + 1] = i .. '-0'
  redis.call('XADD', KEYS[1], (1764000000000 + i - 1) .. '-0', unpack(fields))
end"""


def put_aside(server: Server, count: int = 1) -> None:
    """Put letters there as a listener does, the oldest with the id of PLACE."""
    server.execute("SADD", "schemas", "auth")
    server.execute("SET", "schema:auth", json.dumps(CONTRACT))
    server.execute("SADD", "lightbus:streams", STREAM)
    server.execute("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    server.execute("EVAL", MANY, 1, DEAD, count, *FIELDS)


def length(server: Server, key: str) -> int:
    found = server.execute("XLEN", key)
    assert isinstance(found, int)
    return found


async def noted(server: Server) -> list[tuple[str, int | None, str, str]]:
    """What the audit has, the newest first: each with its number, reason and outcome."""
    client = client_for(manifest(url=server.url))
    try:
        return [(act.action, act.count, act.reason, act.outcome) for act in await acts(client)]
    finally:
        await client.close_async()


async def act(browser: httpx2.AsyncClient, name: str, **form: str) -> httpx2.Response:
    return await browser.post(f"/actions/{name}", data=form, headers=OURS)


async def test_nothing_sensitive_is_in_any_byte_but_where_it_is_revealed(redis_server: Server) -> None:
    put_aside(redis_server, 3)
    export = urlencode({"listener": GROUP, "confirmed": "3", "because": "a report"})
    asked = ("/dead", "/dead/list", f"/dead/list?listener={GROUP}", f"/dead/letter?{urlencode(PLACE)}")
    async with browsing(ALL, url=redis_server.url) as browser:
        for path in (*asked, "/dead/export", f"/dead/export?{export}", f"/actions/drop?{urlencode(PLACE)}"):
            page = await browser.get(path)
            assert page.status_code == 200, path
            assert "anary" not in page.text and "4711" not in page.text, path
        listed = read((await browser.get("/dead")).text).words
        assert "3 dead letters, by what they have in common" in listed
        assert "shop-mailer auth.registered ValueError(" in listed and "/shop.py:7 in mail" in listed
        letter = read((await browser.get(f"/dead/letter?{urlencode(PLACE)}")).text).words
        assert '"name": "Ann", "email": "•••", "more": { "apiKey": "•••" }' in letter
        lines = (await browser.get(f"/dead/export?{export}")).text.splitlines()
        assert [json.loads(line)["kwargs"]["email"] for line in lines] == ["•••"] * 3
        assert [json.loads(line)["id"] for line in lines][-1] == PLACE["id"]
        refused = await act(browser, "reveal", **PLACE)
        assert refused.status_code == 422 and "Say why" in refused.text and CANARY not in refused.text
        shown = await act(browser, "reveal", **PLACE, because="a customer has asked")
        assert shown.status_code == 200 and shown.text.count(CANARY) >= 3
        assert shown.headers["cache-control"] == "no-store"
    assert (await noted(redis_server))[0] == ("dlq.reveal", 1, "a customer has asked", "done")
    assert ("dlq.export", 3, "a report", "done") in await noted(redis_server)
    async with browsing("web.allow=replay,drop,edit", url=redis_server.url) as browser:
        assert (await act(browser, "reveal", **PLACE, because="x")).status_code == 403
        assert "/actions/reveal" not in (await browser.get(f"/dead/letter?{urlencode(PLACE)}")).text


async def test_one_letter_is_replayed_or_dropped(redis_server: Server) -> None:
    put_aside(redis_server, 2)
    async with browsing(ALL, url=redis_server.url) as browser:
        done = await act(browser, "replay", **PLACE)
        assert (done.status_code, length(redis_server, DEAD), length(redis_server, RETRY)) == (303, 1, 1)
        again = await act(browser, "replay", **PLACE)
        assert again.status_code == 409 and "somebody else has replayed or dropped it" in again.text
        other = {**PLACE, "id": "1764000000001-0"}
        asked = await act(browser, "drop", **other)
        assert asked.status_code == 200 and "gone for good" in asked.text and length(redis_server, DEAD) == 1
        assert (await act(browser, "drop", **other, confirmed="yes")).status_code == 303
        assert (length(redis_server, DEAD), length(redis_server, RETRY)) == (0, 1)
        page = read((await browser.get("/dead")).text).words
        assert "No event was put aside" in page


async def test_pages_show_at_once_what_was_done_however_long_a_look_is_good(redis_server: Server) -> None:
    put_aside(redis_server, 3)
    also = "web.allow=drop,pause"
    async with browsing(also, "web.refresh=1h", url=redis_server.url) as browser:

        async def words(path: str) -> str:
            return read((await browser.get(path)).text).words

        assert "3 dead letters, by what" in await words("/dead")
        assert "paused" not in await words(f"/listeners/{GROUP}")
        for left in (2, 1):
            letter = {**PLACE, "id": f"176400000000{left}-0"}
            assert (await act(browser, "drop", **letter, confirmed="yes")).status_code == 303
            assert f"{left} dead letter" in await words("/dead")
            numbers = (await browser.get("/metrics")).text
            (line,) = re.findall(r"^lightbus_bus_listener_dead_letters{.*} (\S+)$", numbers, re.MULTILINE)
            assert float(line) == left
        redis_server.execute("XADD", DEAD, "*", *FIELDS, "origin", "9-0")
        assert "1 dead letter" in await words("/dead"), "nobody has told the console, whose look is good"
        assert (await act(browser, "pause", target=GROUP)).status_code == 303
        assert "2 dead letters, by what" in await words("/dead")
        assert "paused" in await words(f"/listeners/{GROUP}")


async def test_an_edited_letter_keeps_what_was_hidden(redis_server: Server) -> None:
    put_aside(redis_server)
    async with browsing(ALL, url=redis_server.url) as browser:
        for kwargs, told in (
            ("{", "no JSON"),
            ("[]", "must be an object"),
            ('{"name": 5, "email": "•••"}', "name"),
            ('{"name": "•••", "email": "•••"}', "stands for a hidden value"),
        ):
            page = await act(browser, "edit", **PLACE, kwargs=kwargs)
            assert (page.status_code, length(redis_server, DEAD)) == (422, 1), page.text
            assert told in page.text and "anary" not in page.text
        done = await act(browser, "edit", **PLACE, kwargs='{"name": "Eve", "email": "•••"}', because="a typo")
    assert done.status_code == 303 and length(redis_server, DEAD) == 0
    ((_, fields),) = redis_server.execute("XRANGE", RETRY, "-", "+")
    sent = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
    assert (sent["id"], sent[":name"], sent[":email"]) == ("ev", '"Eve"', json.dumps(CANARY))
    assert (sent["edited_by"], sent["attempts"], sent["origin"]) == ("anonymous", "0", "1-0")
    assert (await noted(redis_server))[0] == ("dlq.edit", 1, "a typo", "done")


async def test_many_are_done_with_once_their_number_was_typed(redis_server: Server) -> None:
    put_aside(redis_server, 30)
    some = {"listener": GROUP, "error": "ValueError", "because": "mended"}
    async with browsing(ALL, "web.bulk_limit=20", url=redis_server.url) as browser:
        asked = read((await act(browser, "drop_many", **some)).text).words
        assert "20 dead letters will be dropped" in asked and "There are more" in asked
        assert "Type 20 to confirm" in asked
        for wrong, status in (
            ({"confirmed": "30", "typed": "20"}, 422),
            ({"confirmed": "3", "typed": "3"}, 409),
        ):
            assert (await act(browser, "drop_many", **some, **wrong)).status_code == status
        assert length(redis_server, DEAD) == 30
        done = await act(browser, "drop_many", **some, confirmed="20", typed="20")
        assert (
            done.status_code == 303
            and "20 dead letters will be dropped"
            in read((await browser.get(done.headers["location"])).text).words
        )

        async def is_done() -> bool:
            return not redis_server.execute("EXISTS", "lightbus:errands")

        await eventually_async(is_done)
        assert length(redis_server, DEAD) == 10, "the oldest are left"
        assert redis_server.execute("XRANGE", DEAD, "-", "+", "COUNT", "1")[0][0] == PLACE["id"].encode()
        none = await act(browser, "replay_many", listener="shop-nobody", because="x")
        assert none.status_code == 409 and "no dead letter fits" in none.text.lower()
    assert (await noted(redis_server))[0] == ("dlq.drop", 20, "mended", "done")


@pytest.mark.parametrize("how", ["cancel", "raise"])
async def test_errands_are_done_after_the_task_for_that_has_ended_unasked(
    how: How, redis_server: Server
) -> None:
    put_aside(redis_server, 5)
    some = {"listener": GROUP, "because": "mended", "confirmed": "5", "typed": "5"}
    async with browsing(ALL, url=redis_server.url) as browser:
        sabotage = Sabotage("lightbus console errands", how)
        assert (await act(browser, "replay_many", **some)).status_code == 303

        async def is_done() -> bool:
            # Whoever looks has it done.
            await browser.get("/dead")
            return length(redis_server, DEAD) == 0

        await eventually_async(is_done)
        assert sabotage.is_done and length(redis_server, RETRY) == 5


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path, redis_server.url)
    yield it
    it.close()


#: How many letters are replayed.
REPLAYED = 10_000 if IS_WHOLE else 2_000


class Stalling(BreakingProxy):
    """Passes nothing more once a command was sent so many times: whoever has sent it gets no further."""

    def is_due(self, command: bytes) -> bool:
        """Count a command; no connection breaks."""
        if super().is_due(command):
            self._open.clear()
        return False


@pytest.fixture
def stalling(redis_server: Server) -> Iterator[Stalling]:
    with Stalling(redis_server.port) as proxy:
        yield proxy


def test_many_replays_go_on_after_the_console_was_killed(
    project: Project, redis_server: Server, stalling: Stalling
) -> None:
    put_aside(redis_server, REPLAYED)
    project.write("lightbus.yaml", "web: {allow: [replay]}\n")
    port, plan = free_port(), Break("replay", REPLAYED // 10, "after")
    stalling.plan = plan
    project.env["LIGHTBUS__BUS__REDIS__URL"] = stalling.url
    first = start(project, port)
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    form = {"listener": GROUP, "because": "mended", "confirmed": f"{REPLAYED:,}", "typed": f"{REPLAYED:,}"}
    sent = {
        "Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin", "X-Lightbus-Console": "1",
        "Content-Type": "application/x-www-form-urlencoded",
    }  # fmt: skip
    link.request("POST", "/actions/replay_many", urlencode(form), sent)
    answer = link.getresponse()
    assert answer.status == 303, answer.read()
    link.close()
    eventually(lambda: plan.done)
    first.kill()
    assert length(redis_server, DEAD) > 0 < length(redis_server, RETRY), "it was killed on the way"
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    second = start(project, free_port())
    eventually(lambda: length(redis_server, DEAD) == 0, timeout=60)
    eventually(lambda: not redis_server.execute("EXISTS", "lightbus:errands"))
    assert second.terminate() == 0
    entries = redis_server.execute("XRANGE", RETRY, "-", "+")
    origins = [fields[-1].decode() for _, fields in entries]
    assert sorted(origins) == sorted(f"{n}-0" for n in range(1, REPLAYED + 1)), "each once"
