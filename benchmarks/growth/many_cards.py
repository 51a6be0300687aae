"""A bus on which many processes show what they are, as ``lightbus status`` and the console find it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
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
from lightbus.transports.redis.keys import (
    CARDS,
    SCHEMAS,
    SEARCHED,
    STREAMS,
    GroupKeys,
    card_key,
    owner_key,
    presence_key,
    register_key,
    schema_key,
    stream_key,
)

_RECENT = Recent(outcomes={"ok": 12_345, "error": 6}, p50=0.0123, p95=0.0456, longest=1.2)


@dataclass(frozen=True, slots=True)
class Shape:
    """What each service consists of.

    Args:
        processes: How many processes.
        apis: How many APIs.
        listeners: How many listeners.
        procedures: How many procedures each API has.
    """

    processes: int = 10
    apis: int = 1
    listeners: int = 6
    procedures: int = 12

    def api(self, service: str, number: int) -> str:
        """The name of one of its APIs."""
        return service if self.apis == 1 else f"{service}.part{number}"


def card(number: int, shape: Shape) -> Card:
    """The card of one of the processes."""
    service = f"service{number // shape.processes}"
    handler = f"{service}.handlers.module:function"
    apis = [shape.api(service, n) for n in range(shape.apis)]
    return Card(
        service=service, process=f"{service}-host-{number:04}-4711", version="2026.11.27", lightbus="2.0.0",
        python="3.12.8", pid=4711, host=f"{service}-7d9c5b6f4-{number:05}", started_at=time.time() - 3_600,
        kind="host", features=("rpcs", "events", "tasks"),
        apis=tuple(ApiCard(name=api, address="redis:6379/0", stream_use="per_api") for api in apis),
        listeners=tuple(
            ListenerCard(
                name=f"listener{n}", group=f"{service}-listener{n}",
                events=(f"{apis[n % len(apis)]}.happened",),
                handler=handler, file=f"{service}/handlers/module.py", line=40 + n, recent=_RECENT,
            )
            for n in range(shape.listeners)
        ),
        procedures=tuple(
            ProcedureCard(
                api=api, name=f"procedure{n}", handler=handler, file=f"{service}/bus.py", line=40 + n,
                recent=_RECENT,
            )
            for api in apis
            for n in range(shape.procedures)
        ),
        schedules=(ScheduleCard(name="nightly", times="0 2 * * *", started=time.time() - 60, outcome="ok"),),
        calls={f"{shape.api(f'service{n}', 0)}.procedure{n}": 1_000 + n for n in range(12)},
        fires={f"{service}.happened": 4_711},
    )  # fmt: skip


def contract(shape: Shape) -> bytes:
    """A contract as the owner of an API publishes it."""
    fields = {f"field{n}": {"type": "string"} for n in range(8)} | {
        "email": {"type": "string", "x-sensitive": True}
    }
    parameters = {"type": "object", "properties": fields, "required": ["field0"]}
    procedure = {"parameters": parameters, "response": {"type": "boolean"}}
    rpcs = {f"procedure{n}": procedure for n in range(shape.procedures)}
    return json.dumps({"rpcs": rpcs, "events": {"happened": {"parameters": parameters}}}).encode()


async def show(redis: Any, count: int, shape: Shape = Shape(), *, in_full: bool = False) -> None:
    """Write what so many processes leave on a Redis.

    Args:
        redis: A connection to it.
        count: How many.
        shape: What each service consists of.
        in_full: Whether they also leave contracts, and what says that they take calls, and that
            events are tried again.
    """
    until = time.time() + 3_600
    blob = contract(shape)
    for it in (card(number, shape) for number in range(count)):
        commands: list[tuple[Any, ...]] = [
            ("SET", SEARCHED, 1),
            ("SET", card_key(it.service, it.process), write_card(it)),
            ("ZADD", CARDS, until, f"{it.service}\0{it.process}"),
        ]
        for api in it.apis:
            stream, member = stream_key(api.name, "happened", "per_api"), f"{it.process}:1"
            commands += [
                ("ZADD", owner_key(api.name), round(until * 1_000), f"{it.service}\n{it.process}"),
                *(("SADD", SCHEMAS, api.name), ("SADD", STREAMS, stream)),
            ]
            if in_full:
                commands += [
                    ("SET", schema_key(api.name), blob),
                    ("SADD", register_key(api.name), member),
                    ("SET", presence_key(api.name, member), 1),
                ]
        for listener in it.listeners:
            stream = stream_key(listener.events[0].rpartition(".")[0], "happened", "per_api")
            commands += [
                ("XGROUP", "CREATE", stream, listener.group, "$", "MKSTREAM"),
                ("XGROUP", "CREATECONSUMER", stream, listener.group, it.process),
            ]
            if in_full:
                retry = GroupKeys(stream, listener.group).retry
                commands += [
                    ("XGROUP", "CREATE", retry, listener.group, "$", "MKSTREAM"),
                    ("XGROUP", "CREATECONSUMER", retry, listener.group, it.process),
                    ("HSET", GroupKeys(stream, listener.group).notes, "service", it.service),
                ]
        await redis.send_many(commands)
