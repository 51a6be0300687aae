"""``make console``: the shop with its console, until Ctrl-C."""

from __future__ import annotations

import contextlib
import http.client
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support.eventually import eventually
from tests.support.processes import Process

ROOT = Path(__file__).parents[2]


def page(port: int, token: str, path: str = "/") -> str:
    """The text of a page."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(link):
        link.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = link.getresponse()
        assert answer.status == 200, path
        return answer.read().decode()


@pytest.mark.timeout(180)
def test_the_shop_has_traffic_failures_and_a_console_until_ctrl_c() -> None:
    require("valkey")
    with Process([sys.executable, "-m", "examples.console"], cwd=ROOT) as process:
        process.wait_for_line("Ctrl-C ends it all")
        said = process.output()
        port = int(re.findall(r"http://127.0.0.1:([0-9]+)/", said)[0])
        people = {name: token for token, name in re.findall(r"    ([0-9a-f]{24})  (\w+), who", said)}
        assert people.keys() == {"ann", "bob", "eve"}
        eventually(lambda: "shop.orders.customer_of" in page(port, people["ann"]), 60)
        eventually(lambda: re.search(r">[1-9]\d*</b> dead letter", page(port, people["eve"])), 60)
        assert "mail-welcome" in page(port, people["ann"])
        eventually(lambda: page(port, people["ann"], "/listeners/shop-send_receipt"), 60)
        may = {
            name: "/actions/" in page(port, people[name], "/listeners/shop-send_receipt") for name in people
        }
        assert may == {"ann": True, "bob": False, "eve": False}
        process.interrupt()
        assert process.wait() == 0, process.output()
        with pytest.raises(OSError):
            page(port, people["ann"])
