"""Dramatiq with Redis as broker and for results: one process with 8 threads."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.measures import USERNAME
from benchmarks.peers import shape

broker = RedisBroker(url=shape.URL)
broker.add_middleware(Results(backend=RedisBackend(url=shape.URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def check_password(username: str, password: str) -> bool:
    return shape.check(username, password)


@dramatiq.actor
def user_registered(username: str, password: str) -> None:
    shape.note(username)


class DramatiqPeer(shape.SyncPeer):
    worker = ("-m", "dramatiq", "--processes", "1", "--threads", "8", __spec__.name)

    def submit(self) -> Callable[[], object]:
        message = check_password.send(**shape.CREDENTIALS)
        return lambda: message.get_result(block=True, timeout=10_000)

    def fire(self, username: str = USERNAME) -> object:
        return user_registered.send(username=username, password="secret")


if __name__ == "__main__":
    shape.main(DramatiqPeer)
