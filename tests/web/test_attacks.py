"""What strangers may send to the actions of a console on which much is allowed: none of it does anything.

What each route refuses, whoever sends it, is in :mod:`tests.web.test_every_route`.
"""

from __future__ import annotations

from typing import get_args
from urllib.parse import quote

import pytest

from lightbus.manifest.model import Permission
from lightbus.web import app
from lightbus.web.access.guard import MOST_BYTES
from tests.support.servers import Server
from tests.web.bus import shop
from tests.web.conftest import ANN, OURS, browsing, manifest, visitor
from tests.web.test_actions import groups
from tests.web.test_roles import entries

ALL = f"web.allow={','.join(get_args(Permission))}"
REMOVAL = {"target": "shop-welcome", "confirmed": "yes", "because": "evil"}
LOGIN = ("web.auth=token", "web.token_file=tests/web/tokens.txt", ALL)
#: How the address of an action may be written.
_WRITTEN = (
    *("/actions//remove", "//actions/remove", "/actions/remove/", "/actions/remove/x", "/actions/./remove"),
    *("/actions/%2e/remove", "/actions/x/../remove", "/actions/x/%2e%2e/remove", "/actions/remove%00"),
    *("/actions/REMOVE", "/actions%2fremove", "/actions/remove%2f..%2fpause", "/actions\\remove"),
    *("/actions/remove;x", "/actions/remove%20", "/static/../actions/remove", "/actions/", "/actions"),
    f"/actions/{'a' * 50_000}",
)


async def sent(server: Server, path: str, headers: dict[str, str], content: bytes | None = None) -> int:
    """The status of the answer to the form of a removal, which must have done nothing."""
    shop(server)
    before = groups(server)
    async with browsing(ALL, url=server.url) as browser:
        given = {"content": content} if content is not None else {"data": REMOVAL}
        answer = await browser.post(path, headers=headers, **given)
    assert groups(server) == before and entries(server) == 0
    for secret in ("Traceback", "import ", "{%"):
        assert secret not in answer.text
    return answer.status_code


async def test_the_address_of_an_action_is_written_in_one_way_alone(redis_server: Server) -> None:
    shop(redis_server)
    before = groups(redis_server)
    async with browsing(ALL, url=redis_server.url) as browser:
        for path in _WRITTEN:
            # Without a target, what finds the action says so, and does nothing.
            answer = await browser.post(path, data={"confirmed": "yes"}, headers=OURS)
            assert answer.status_code in (303, 307, 404, 405, 422), path
            assert "Traceback" not in answer.text
            assert answer.headers.get("location", "http://localhost:8098/").startswith(
                "http://localhost:8098/"
            )
    assert groups(redis_server) == before and entries(redis_server) == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"target=" + b"a" * MOST_BYTES, 413),
        (b"&" * 1_000, 400),
        (b"a=b&" * 1_000, 400),
        (b"\x00\xff\xfe", 422),
        (b"target=shop-welcome%00&confirmed=yes&because=a", 409),
        (b"target=" + quote("../../shop-welcome").encode() + b"&confirmed=yes&because=a", 409),
        (b"target=&target=shop-welcome&confirmed=yes&because=a", 422),
        (b'{"target": "shop-welcome", "confirmed": "yes", "because": "a"}', 422),
        (b"", 422),
    ],
    ids=lambda it: repr(it)[:30],
)
async def test_a_form_that_is_none_of_ours_does_nothing(
    redis_server: Server, content: bytes, status: int
) -> None:
    assert await sent(redis_server, "/actions/remove", OURS, content) == status


async def test_looking_at_an_address_does_nothing(redis_server: Server) -> None:
    shop(redis_server)
    before = groups(redis_server)
    async with browsing(ALL, url=redis_server.url) as browser:
        for method in ("GET", "HEAD", "OPTIONS"):
            await browser.request(method, "/actions/remove", params=REMOVAL)
    assert groups(redis_server) == before and entries(redis_server) == 0


async def test_a_session_that_somebody_has_chosen_for_another_is_none() -> None:
    console = app(manifest(*LOGIN))
    async with visitor(console) as browser:
        chosen = {"Cookie": "lightbus=chosen-by-somebody-else"}
        login = await browser.post("/login", data={"token": ANN}, headers={**OURS, **chosen})
        kept = login.headers["set-cookie"].partition(";")[0]
        assert login.status_code == 204 and "chosen" not in kept
        browser.cookies.clear()
        assert (await browser.get("/", headers=chosen)).status_code == 401
        # Another login ends the session before it, so that nobody else goes on with that.
        again = await browser.post("/login", data={"token": ANN}, headers={**OURS, "Cookie": kept})
        browser.cookies.clear()
        assert again.status_code == 204
        assert (await browser.get("/", headers={"Cookie": kept})).status_code == 401
        answer = await browser.post("/actions/remove", data=REMOVAL, headers={**OURS, "Cookie": kept})
        assert answer.status_code == 401
    await console.close_async()
