"""Taskiq over a Redis stream, with results in Redis: uvloop, hiredis, results looked for each millisecond."""

from __future__ import annotations

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.measures import BATCH, USERNAME
from benchmarks.peers import shape

results = RedisAsyncResultBackend(shape.URL, result_ex_time=60, keep_results=False)
broker = RedisStreamBroker(shape.URL, xread_count=BATCH, consumer_id="0").with_result_backend(results)


@broker.task(task_name="check_password")
async def check_password(username: str, password: str) -> bool:
    return shape.check(username, password)


@broker.task(task_name="user_registered")
async def user_registered(username: str, password: str) -> None:
    shape.note(username)


class TaskiqPeer(shape.AsyncPeer):
    worker = (
        *("-m", "taskiq", "worker", f"{__spec__.name}:broker", "--workers", "1", "--log-level", "WARNING"),
        *("--max-async-tasks", "100", "--max-prefetch", "100"),
    )

    def prepare(self) -> None:
        shape.execute("XGROUP CREATE taskiq taskiq 0 MKSTREAM")

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def call(self) -> object:
        task = await check_password.kiq(**shape.CREDENTIALS)
        return (await task.wait_result(check_interval=0.001, timeout=5)).return_value

    async def fire(self, username: str = USERNAME) -> object:
        return await user_registered.kiq(username=username, password="secret")


if __name__ == "__main__":
    shape.main(TaskiqPeer)
