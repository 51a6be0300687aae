"""Celery with Redis as broker and for results: the solo pool, no gossip, events without results."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from benchmarks.measures import BATCH, USERNAME
from benchmarks.peers import shape

app = Celery("bench", broker=shape.URL, backend=shape.URL)
app.conf.update(
    worker_prefetch_multiplier=BATCH,
    task_store_errors_even_if_ignored=False,
    worker_send_task_events=False,
    result_expires=60,
)


@app.task(name="check_password")
def check_password(username: str, password: str) -> bool:
    return shape.check(username, password)


@app.task(name="user_registered", ignore_result=True)
def user_registered(username: str, password: str) -> None:
    shape.note(username)


class CeleryPeer(shape.SyncPeer):
    worker = (
        *("-m", "celery", "--app", __spec__.name, "worker", "--pool", "solo", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )

    def submit(self) -> Callable[[], object]:
        result = check_password.apply_async(kwargs=shape.CREDENTIALS)
        return lambda: result.get(timeout=10)

    def fire(self, username: str = USERNAME) -> object:
        return user_registered.apply_async(kwargs={"username": username, "password": "secret"})


if __name__ == "__main__":
    shape.main(CeleryPeer)
