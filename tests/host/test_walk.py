"""The walk of one call, as the architecture page prints it: each file costs a reader, and each hop time."""

from __future__ import annotations

import re

from lightbus.transports.redis.rpc.transport import RedisRpcTransport
from tests.support.walk import PACKAGE, walk_of

from .conftest import Bench

PAGE = PACKAGE.parent / "docs" / "explanation" / "architecture.md"
#: The most files that one call may pass, in the caller and in the worker together.
MOST = 24


def printed() -> tuple[int, list[str]]:
    """The number of files that the page says, and those that it lists, in their order."""
    section = PAGE.read_text().partition("\n## A call\n")[2].partition("\n## ")[0]
    number = re.search(r"passes (\d+) files", section)
    block = re.search(r"```text\n(.*?)```", section, re.DOTALL)
    assert number is not None and block is not None
    firsts = [line.split()[0] for line in block[1].splitlines()]
    return int(number[1]), [name for name in firsts if not name.startswith("-")]


async def test_a_call_passes_the_files_that_the_page_lists_in_their_order(bench: Bench) -> None:
    number, listed = printed()
    async with bench.host() as host:
        # The first call looks up what the next ones have at hand.
        await host.bus.shop.price.call_async(sku="cup")
        # Work of the process that is due just then comes between, such as a look at who serves the API.
        walks, calls = [], host.bus.client.transports().rpc("shop")
        assert isinstance(calls, RedisRpcTransport)
        for _ in range(20):
            await calls.pipe.send("PING")  # The end of the call before has come, too.
            walks.append(await walk_of(host.bus.shop.price.call_async(sku="cup")))
    shortest = min(walks, key=len)
    assert sorted(shortest) == sorted(listed)
    assert listed in walks
    assert number == len(listed) <= MOST
