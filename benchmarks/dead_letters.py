"""How long pages of dead letters take where a million lie: ``python -m benchmarks.dead_letters [COUNT]``."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import lightbus
from lightbus.insight.dead_letters import Filter, page, sample
from tests.support.servers import Server

STREAM = "auth.*:stream"
DEAD = f"{{{STREAM}}}:dead:shop-mailer"
TRACE = 'Traceback:\n  File "/shop/mail.py", line 7, in mail\n    send()\n' + "ValueError: no\n"
FIELDS = [
    *("id", "e", "api_name", "auth", "event_name", "registered", "version", "1", ":name", '"Ann"'),
    *("reason", "failed", "error", "ValueError('no')", "trace", TRACE, "attempts", "3", "origin", "1-0"),
]
MANY = "for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2)) end"
AT_ONCE = 20_000


async def measure(url: str) -> None:
    """Print the time of each kind of page: the first one, and the best of five."""
    client = lightbus.create(url, service_name="bench").client
    deep = ""
    for _ in range(20):
        deep = (await page(client, ["default"], Filter(), before=deep, limit=200)).next

    async def first() -> Any:
        return await page(client, ["default"], Filter())

    async def later() -> Any:
        return await page(client, ["default"], Filter(), before=deep)

    async def rare() -> Any:
        return await page(client, ["default"], Filter(error="KeyError"))

    async def kinds() -> Any:
        return await sample(client, ["default"])

    pages: dict[str, Callable[[], Awaitable[Any]]] = {
        "the newest 50": first,
        "50 that are older": later,
        "a filter that none of 1,000 fits": rare,
        "what the newest 1,000 have in common": kinds,
    }
    for name, ask in pages.items():
        times = []
        for _ in range(5):
            began = time.perf_counter()
            await ask()
            times.append(time.perf_counter() - began)
        print(f"{name:40} {times[0] * 1000:7.1f} ms at first, {min(times) * 1000:7.1f} ms at best")
    await client.close_async()


def main(count: int) -> None:
    """Put so many letters aside, and measure."""
    server = Server()
    try:
        server.execute("SADD", "lightbus:streams", STREAM)
        server.execute("XGROUP", "CREATE", STREAM, "shop-mailer", "0", "MKSTREAM")
        for start in range(0, count, AT_ONCE):
            server.execute("EVAL", MANY, 1, DEAD, min(AT_ONCE, count - start), *FIELDS)
        print(f"{server.execute('XLEN', DEAD):,} dead letters of one listener")
        asyncio.run(measure(server.url))
    finally:
        server.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
