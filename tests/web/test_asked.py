"""The pages for which the bus is asked anew, and its numbers for collectors of metrics."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from lightbus.transports.audit import Act, write_act
from tests.support.servers import Server
from tests.web.bus import shop
from tests.web.conftest import ANN, browsing
from tests.web.test_pages import read

LOGIN = ("web.auth=token", "web.token_file=tests/web/tokens.txt")


def note(server: Server, number: int, action: str) -> None:
    """Put the beginning and the end of an act into the audit."""
    act = Act(act=str(number), user=f"ann-{number}@box", action=action, target="shop-mailer")
    for place, each in enumerate((act, replace(act, outcome="done")), 1):
        server.execute("XADD", "lightbus:audit", f"{number}-{place}", "act", write_act(each))


async def get(browser: httpx2.AsyncClient, path: str) -> str:
    """The words of a page."""
    answer = await browser.get(path)
    assert answer.status_code == 200, answer.text
    return read(answer.text).words


async def test_the_audit_is_shown_the_newest_first_page_by_page(redis_server: Server) -> None:
    for number in range(1, 61):
        note(redis_server, number, "dlq.replay" if number % 2 else "group.rm")
    async with browsing(url=redis_server.url) as browser:
        first = await browser.get("/audit")
        words = read(first.text).words
        assert words.index("ann-60@box") < words.index("ann-11@box") and "ann-10@box" not in words
        (older,) = [link for link in read(first.text).links if "before=" in link]
        second = await get(browser, older)
        assert "ann-10@box" in second and "ann-1@box" in second and "ann-11@box" not in second
        some = await get(browser, "/audit?action=dlq&user=ann-7")
        assert "dlq.replay" in some and "ann-7@box" in some and "ann-9@box" not in some
        assert "Nobody has done anything that fits" in await get(browser, "/audit?user=bob")


async def test_an_empty_audit_says_what_will_be_there(redis_server: Server) -> None:
    async with browsing(url=redis_server.url) as browser:
        assert "Nobody has done anything to this bus yet" in await get(browser, "/audit")


async def test_a_page_of_the_audit_that_cannot_be_is_refused_in_words(redis_server: Server) -> None:
    async with browsing(url=redis_server.url) as browser:
        answer = await browser.get("/audit?before=%3Cb%3E")
    assert answer.status_code == 422 and "is no id" in answer.text and "<b>" not in answer.text


@pytest.mark.parametrize("path", ["/audit"])
async def test_a_page_says_that_the_bus_can_not_be_asked(path: str) -> None:
    async with browsing() as browser:
        answer = await browser.get(path)
    assert answer.status_code == 503 and "The bus can't be read now" in read(answer.text).words


async def test_collectors_get_the_numbers_of_the_bus_with_a_token_only(redis_server: Server) -> None:
    shop(redis_server)
    async with browsing(*LOGIN, url=redis_server.url) as browser:
        assert (await browser.get("/metrics")).status_code == 401
        answer = await browser.get("/metrics", headers={"Authorization": f"Bearer {ANN}"})
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lag = 'lightbus_bus_listener_lag{service="shop",listener="welcome",stream="auth.*:stream"} 3'
    assert lag in answer.text.splitlines() and "lightbus_bus_readable 1" in answer.text


async def test_no_number_is_told_of_a_bus_that_can_not_be_read() -> None:
    async with browsing() as browser:
        answer = await browser.get("/metrics")
    assert answer.status_code == 200
    assert [line for line in answer.text.splitlines() if line[0] != "#"] == ["lightbus_bus_readable 0"]
