"""Rounds of commands over one connection to a Redis that is slow."""

from __future__ import annotations

from typing import Any

from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.link.rounds import Rounds
from lightbus.transports.redis.scripts import ENLIST
from tests.support.eventually import eventually_async
from tests.support.servers import Server

from .test_pipe import piped


async def test_a_script_that_redis_says_too_late_not_to_know_is_run_by_its_text(redis_server: Server) -> None:
    replies: list[tuple[str, Any]] = []

    async def work(pipe: Pipe) -> None:
        await pipe.open()
        redis_server.execute("SCRIPT", "FLUSH")
        rounds: Rounds[str] = Rounds(pipe, patience=0.01)
        redis_server.pause()
        try:
            await rounds.run(
                {"one": ENLIST(schemas="one", names=["a"])}, lambda key, reply: replies.append((key, reply))
            )
        finally:
            redis_server.resume()
        await rounds.answered("one")
        assert not rounds.is_asked("one")

    await piped(redis_server.url, work)
    await eventually_async(lambda: replies == [("one", 1)])
    assert redis_server.execute("SMEMBERS", "one") == [b"a"]
