"""FastStream over Redis streams: uvloop, hiredis, no access log, a hundred records a read."""

from __future__ import annotations

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from benchmarks.measures import BATCH, USERNAME
from benchmarks.peers import shape

broker = RedisBroker(shape.URL, logger=None)
app = FastStream(broker, logger=None)


def stream(name: str, batch: bool = False) -> StreamSub:
    """One stream, read by a group."""
    return StreamSub(name, group="bench", consumer="one", max_records=BATCH, batch=batch, last_id=">")


@broker.subscriber(stream=stream("calls"))
async def check_password(username: str, password: str) -> bool:
    return shape.check(username, password)


if shape.is_batch():

    @broker.subscriber(stream=stream("events", batch=True))
    async def many_registered(events: list[dict[str, str]]) -> None:
        for event in events:
            shape.note(event["username"])

else:

    @broker.subscriber(stream=stream("events"))
    async def user_registered(username: str, password: str) -> None:
        shape.note(username)


class FastStreamPeer(shape.AsyncPeer):
    worker = ("-m", "faststream", "run", f"{__spec__.name}:app", "--log-level", "warning")
    has_batches = True

    def prepare(self) -> None:
        for name in ("calls", "events"):
            shape.execute(f"XGROUP CREATE {name} bench 0 MKSTREAM")

    async def open(self) -> None:
        await broker.connect()

    async def close(self) -> None:
        await broker.stop()

    async def call(self) -> object:
        answer = await broker.request(shape.CREDENTIALS, stream="calls", timeout=5)
        return await answer.decode()

    async def fire(self, username: str = USERNAME) -> object:
        return await broker.publish({"username": username, "password": "secret"}, stream="events")


if __name__ == "__main__":
    shape.main(FastStreamPeer)
