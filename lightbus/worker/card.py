"""What a host says of itself on its card, besides what every process does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from inspect import unwrap
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec.structs import replace

from lightbus.bus.parts import Parts
from lightbus.declared.inbox import inbox_of
from lightbus.declared.listener import Listener
from lightbus.runtime.counting import Counted, Labels, Window
from lightbus.transports.cards import (
    ApiCard,
    Card,
    ListenerCard,
    OutboxCard,
    PolicyCard,
    ProcedureCard,
    Recent,
    ScheduleCard,
)

from .worker import Worker

#: Seconds for which runs count, and seconds between two looks at them.
_WINDOW, _STEP = 600.0, 60.0
#: A function as ``module:function``, its file, and its line.
_Place = tuple[str, str, int]


class _Life(Protocol):
    """The used part of the life of a host."""

    phase: Literal["starting", "ready", "stopping"]

    def obstacles(self) -> list[str]: ...

    def waits(self) -> list[str]: ...

    def outboxes(self) -> tuple[OutboxCard, ...]: ...


class HostCard:
    """Fills the card of a host.

    Args:
        parts: Its bus.
        worker: Its consumers.
        life: How far it is.
    """

    def __init__(self, parts: Parts, worker: Worker, life: _Life) -> None:
        self._parts = parts
        self._worker = worker
        self._life = life
        self._handlings = Window(parts.metrics.event_handlings, _WINDOW, _STEP)
        self._executions = Window(parts.metrics.rpc_executions, _WINDOW, _STEP)
        self._folder = Path.cwd()
        self._places: dict[Any, _Place] = {}

    def fill(self, card: Card) -> Card:
        """Return a card with all that this host knows of itself."""
        now = time.monotonic()
        return replace(
            card,
            kind="host",
            phase=self._life.phase,
            obstacles=tuple(self._life.obstacles()),
            waits=tuple(self._life.waits()),
            features=tuple(self._parts.declarations.features),
            remote_control=self._parts.registry.is_registered(self._parts.identity.control_api),
            apis=tuple(self._apis()),
            listeners=tuple(self._listeners(self._handlings.look(now))),
            procedures=tuple(self._procedures(self._executions.look(now))),
            schedules=tuple(schedule_cards(self._parts, self._worker)),
            outboxes=self._life.outboxes(),
        )

    def _apis(self) -> Iterator[ApiCard]:
        parts = self._parts
        rpcs = {rpc.api_name: rpc for rpc in self._worker.rpcs}
        for name in self._worker.published:
            settings, rpc = parts.settings(name), rpcs.get(name)
            options = settings.event_transport.options
            yield ApiCard(
                name=name,
                concurrency=settings.rpc_concurrency,
                running=rpc.running if rpc is not None else 0,
                trouble=rpc.trouble if rpc is not None else "",
                stream_use=getattr(options, "stream_use", None),
                max_stream_length=getattr(options, "max_stream_length", None),
                address=parts.transports().event(name).address,
            )

    def _listeners(self, recent: Mapping[Labels, Counted]) -> Iterator[ListenerCard]:
        worker, parts = self._worker, self._parts
        if "events" not in self._parts.declarations.features:
            return
        running = {event.listener.key: event for event in worker.events}
        for key, it in self._parts.declarations.listeners.items():
            event, pause = running.get(key), worker.pauses.held.get(it.name)
            leaving = worker.leaving.get(key)
            handler, file, line = self._place(it.handler)
            inbox = inbox_of(it.handler)
            apis = {api for api, _ in it.events}
            counted = [c for (name, api, _), c in recent.items() if name == it.name and api in apis]
            yield ListenerCard(
                name=it.name,
                group=parts.group_of(it.name, it.events[0][0]),
                events=tuple(f"{api}.{name}" for api, name in it.events),
                handler=handler,
                file=file,
                line=line,
                policy=_policy(it),
                concurrency=it.concurrency,
                dedupe=it.dedupe,
                inbox=inbox.name if inbox is not None else "",
                batch=it.batch,
                renamed_from=it.renamed_from,
                enabled=it.enabled,
                is_paused=pause is not None,
                paused_until=pause.until if pause is not None else None,
                running=sum(each.running for each in (event, leaving) if each is not None),
                trouble=event.trouble if event is not None else "",
                recent=_recent(counted),
                in_code=it.in_code,
            )

    def _procedures(self, recent: Mapping[Labels, Counted]) -> Iterator[ProcedureCard]:
        for api in self._worker.served:
            for name, procedure in self._parts.registry.get(api).procedures.items():
                handler, file, line = self._place(procedure.function)
                counted = recent.get((api, name))
                yield ProcedureCard(
                    api=api,
                    name=name,
                    handler=handler,
                    file=file,
                    line=line,
                    recent=_recent([counted] if counted is not None else []),
                )

    def _place(self, function: Any) -> _Place:
        """Return where a function is defined, looked up once."""
        known = self._places.get(function)
        if known is None:
            known = self._places[function] = _place_of(function, self._folder)
        return known


def schedule_cards(parts: Parts, worker: Worker) -> Iterator[ScheduleCard]:
    """Go through the schedules of a host, with the last run of each there; from any thread.

    Args:
        parts: Its bus.
        worker: Its consumers.
    """
    if "tasks" not in parts.declarations.features:
        return
    for name, it in parts.declarations.all_schedules().items():
        past = worker.schedules.pasts.get(name)
        known = {} if past is None else {each: getattr(past, each) for each in past.__slots__}
        running = worker.schedules.runs_of(name)
        yield ScheduleCard(
            name=name,
            times=it.times,
            timezone=it.timezone,
            scope=it.scope,
            running=running,
            missed=it.missed,
            is_paused=name in worker.pauses.schedules,
            **known,
        )


def _place_of(function: Any, folder: Path) -> _Place:
    function = getattr(function, "func", function)  # as of functools.partial
    code = getattr(unwrap(function), "__code__", None)
    if code is None:  # an object with __call__
        code = getattr(unwrap(type(function).__call__), "__code__", None)
    named = function if hasattr(function, "__qualname__") else type(function)
    name = f"{named.__module__}:{named.__qualname__}"
    if code is None:
        return name, "", 0
    file = code.co_filename
    if file.startswith(f"{folder}{os.sep}"):
        file = os.path.relpath(file, folder)
    return name, file, code.co_firstlineno


def _policy(listener: Listener) -> PolicyCard:
    it = listener.on_error
    waits = it.backoff
    return PolicyCard(
        attempts=it.attempts,
        then=it.then.value,
        max_deaths=it.max_deaths,
        initial=float(waits.initial),
        factor=waits.factor,
        longest=float(waits.max),
    )


def _recent(parts: Sequence[Counted]) -> Recent:
    if not parts:
        return Recent()
    it = parts[0] if len(parts) == 1 else Counted.together(parts)
    return Recent(outcomes=dict(it.outcomes), p50=it.within(0.5), p95=it.within(0.95), longest=it.longest)
