"""A bus on which many processes show what they are, as ``lightbus status`` finds it."""

from __future__ import annotations

import time
from typing import Any

from lightbus.transports.cards import (
    ApiCard,
    Card,
    ListenerCard,
    ProcedureCard,
    Recent,
    ScheduleCard,
    write_card,
)
from lightbus.transports.redis.keys import CARDS, SCHEMAS, STREAMS, card_key, owner_key, stream_key

#: Processes of one service.
_EACH = 10
_RECENT = Recent(outcomes={"ok": 12_345, "error": 6}, p50=0.0123, p95=0.0456, longest=1.2)


def card(number: int) -> Card:
    """The card of one of the processes: it owns an API, and has six listeners and twelve procedures."""
    service = f"service{number // _EACH}"
    handler = f"{service}.handlers.module:function"
    return Card(
        service=service, process=f"{service}-host-{number:04}-4711", version="2026.11.27", lightbus="2.0.0",
        python="3.12.8", pid=4711, host=f"{service}-7d9c5b6f4-{number:05}", started_at=time.time() - 3_600,
        kind="host", features=("rpcs", "events", "tasks"),
        apis=(ApiCard(name=service, address="redis:6379/0", stream_use="per_api"),),
        listeners=tuple(
            ListenerCard(
                name=f"listener{n}", group=f"{service}-listener{n}", events=(f"{service}.happened",),
                handler=handler, file=f"{service}/handlers/module.py", line=40 + n, recent=_RECENT,
            )
            for n in range(6)
        ),
        procedures=tuple(
            ProcedureCard(
                api=service, name=f"procedure{n}", handler=handler, file=f"{service}/bus.py", line=40 + n,
                recent=_RECENT,
            )
            for n in range(12)
        ),
        schedules=(ScheduleCard(name="nightly", times="0 2 * * *", started=time.time() - 60, outcome="ok"),),
        calls={f"service{n}.procedure{n}": 1_000 + n for n in range(12)},
        fires={f"{service}.happened": 4_711},
    )  # fmt: skip


async def show(redis: Any, count: int) -> None:
    """Write what so many processes leave on a Redis.

    Args:
        redis: A connection to it.
        count: How many.
    """
    until = time.time() + 3_600
    for it in map(card, range(count)):
        stream = stream_key(it.service, "happened", "per_api")
        commands: list[tuple[Any, ...]] = [
            ("SET", card_key(it.service, it.process), write_card(it)),
            ("ZADD", CARDS, until, f"{it.service}\0{it.process}"),
            ("ZADD", owner_key(it.service), round(until * 1_000), f"{it.service}\n{it.process}"),
            *(("SADD", SCHEMAS, it.service), ("SADD", STREAMS, stream)),
        ]
        for listener in it.listeners:
            commands += [
                ("XGROUP", "CREATE", stream, listener.group, "$", "MKSTREAM"),
                ("XGROUP", "CREATECONSUMER", stream, listener.group, it.process),
            ]
        await redis.send_many(commands)
