"""A password that is changed while hosts run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightbus.exceptions import LightbusException
from tests.conftest import StartServer
from tests.support.eventually import eventually_async

from .conftest import Bench, Hosted
from .shop import ledger

LISTENER = 'listeners: {note: {events: [shop.sold], handler: "tests.host.shop:note"}}\n'
FORMS = {
    "password": "bus: {{redis: {{url: 'redis://127.0.0.1:{port}/0', password: '${{file:secret}}'}}}}\n",
    "url": "bus: {{redis: {{url: 'redis://:${{file:secret}}@127.0.0.1:{port}/0'}}}}\n",
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_host_comes_back_with_the_password_that_its_file_holds_by_now(
    tmp_path: Path, start_server: StartServer, bench: Bench, form: str
) -> None:
    server = bench.server = start_server(password="old")
    secret = tmp_path / "secret"
    secret.write_text("old\n")
    async with bench.host(FORMS[form].format(port=server.port) + LISTENER) as shop:
        await shop.fire("before")
        await eventually_async(lambda: ledger.counts["before"] == 1)
        server.execute("CONFIG", "SET", "requirepass", "new")
        server.password = "new"
        server.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually_async(lambda: is_refused(shop))
        secret.write_text("new\n")
        assert await shop.bus.shop.price.call_async(sku="abc", bus_options={"timeout": 20}) == 3
        await shop.fire("after")
        await eventually_async(lambda: ledger.counts["after"] == 1)
        assert await shop.reloader.reload()


async def is_refused(shop: Hosted) -> bool:
    try:
        await shop.bus.shop.price.call_async(sku="abc", bus_options={"timeout": 1})
    except LightbusException as e:
        return "refused the password or user" in str(e)
    return False
