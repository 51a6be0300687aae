"""The declarations of a service that matter to the bus: kept there, and compared with later ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lightbus.bus.client import BusClient
from lightbus.declared.listener import ListenerOptions
from lightbus.declared.schedule import Schedule, ScheduleOptions
from lightbus.exceptions import LightbusException
from lightbus.manifest.model import Manifest

logger = logging.getLogger(__name__)

#: Seconds that the broker has to keep it.
_PATIENCE = 2.0
#: Changes when a reader of before could no longer read it.
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredApi:
    """An API that a service serves or listens to.

    Args:
        owner: The service that owns it; empty if that is not known.
        address: The broker of its events, without secrets.
        stream_use: How its events are spread over streams; empty if the transport knows no streams.
        max_stream_length: The most events of a stream; None for any number.
    """

    owner: str = ""
    address: str = ""
    stream_use: str = ""
    max_stream_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredListener:
    """A listener.

    Args:
        service: The service in the name of its consumer group.
        name: Its own part of that name.
        events: Its events, as pairs of API and event name.
        handler: Its handler, as ``module:function``.
        attempts: How often an event is tried.
        then: The end of an event after the last attempt.
        concurrency: How many events one process handles at a time.
        dedupe: Seconds for which handled events are remembered; None for no memory.
        enabled: Whether it runs.
        since: Where its group begins.
        renamed_from: Its name before.
        in_code: Whether code declares it, and not the manifest.
    """

    service: str
    name: str
    events: tuple[tuple[str, str], ...]
    handler: str = ""
    attempts: int = 1
    then: str = ""
    concurrency: int = 1
    dedupe: float | None = None
    enabled: bool = True
    since: str = "new"
    renamed_from: str | None = None
    in_code: bool = False

    @property
    def group(self) -> str:
        """Its consumer group."""
        return f"{self.service}-{self.name}"

    @property
    def former_group(self) -> str:
        """The consumer group of its name before; empty for none."""
        return f"{self.service}-{self.renamed_from}" if self.renamed_from else ""

    @property
    def apis(self) -> set[str]:
        """The APIs of its events."""
        return {api for api, _ in self.events}

    def listens(self, events: Iterable[tuple[str, str]]) -> bool:
        """Tell whether it listens to some of these events, whose names may be ``*``."""
        every = {api for api, name in self.events if name == "*"}
        return any(event in self.events or event[0] in every for event in events)

    @property
    def shown_events(self) -> str:
        """Its events in words."""
        return ", ".join(f"{api}.{name}" for api, name in self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSchedule:
    """A schedule; its times are given by one of ``every`` and ``cron``, or by a job of a library.

    Args:
        times: Its times in words.
        in_code: Whether code declares it, and not the manifest.
    """

    times: str = ""
    every: float | None = None
    cron: str | None = None
    timezone: str | None = None
    scope: str = "service"
    in_code: bool = False

    def next_run(self, after: float) -> float | None:
        """Return the first time after another one, in Unix seconds; None if that can't be told."""
        if self.every is None and self.cron is None:
            return None
        times: dict[str, Any] = {"every": self.every, "cron": self.cron, "timezone": self.timezone}
        try:
            return Schedule(name="any", call=_nothing, **times).next_time(after)
        except LightbusException:
            return None  # What reads cron is not installed here, or it was written by another version.


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The declarations of one service.

    Args:
        service: The service.
        apis: Its APIs and those that it listens to, by name.
        listeners: Its listeners, by name.
        schedules: Its schedules, by name.
    """

    service: str
    format_version: int = FORMAT_VERSION
    apis: Mapping[str, DeclaredApi] = field(default_factory=dict)
    listeners: Mapping[str, DeclaredListener] = field(default_factory=dict)
    schedules: Mapping[str, DeclaredSchedule] = field(default_factory=dict)

    @property
    def owned(self) -> set[str]:
        """The APIs that it owns."""
        return {name for name, api in self.apis.items() if api.owner == self.service}

    def to_json(self) -> bytes:
        """Return it as it is kept on the bus."""
        return msgspec.json.encode(self)


class _Kept(msgspec.Struct):
    format_version: int


def read(record: bytes) -> Declared | None:
    """Read what is kept on the bus; None if this version can't."""
    try:
        if msgspec.json.decode(record, type=_Kept).format_version > FORMAT_VERSION:
            return None
        return msgspec.json.decode(record, type=Declared)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None


def declared_by(manifest: Manifest, client: BusClient) -> Declared:
    """Return what a manifest declares, and the code that was imported.

    Args:
        manifest: The manifest.
        client: The bus on which that was declared.
    """
    options = dict(manifest.listeners)
    in_code = {each.key: each for each in client.listeners.values() if each.name not in options}
    listeners = {name: _listener(client, name, each) for name, each in options.items()}
    listeners |= {key: _listener(client, each.name, each, in_code=True) for key, each in in_code.items()}
    times: dict[str, ScheduleOptions] = {**client.all_schedules(), **manifest.schedules}
    named = [
        *manifest.apis,
        *client.registry.public(),
        *(a for each in listeners.values() for a in each.apis),
    ]
    return Declared(
        service=client.service_name,
        apis={name: _api(client, name) for name in sorted({*named} - {"default"})},
        listeners=listeners,
        schedules={name: _schedule(each, name not in manifest.schedules) for name, each in times.items()},
    )


async def keep(manifest: Manifest, client: BusClient) -> None:
    """Keep on the bus what a service declares, for the plans to come; a failure costs nothing else."""
    declared = declared_by(manifest, client)
    try:
        async with asyncio.timeout(_PATIENCE):
            await client.transports().schema().note_declared(declared.service, declared.to_json())
    except (TimeoutError, LightbusException) as e:
        why = str(e) or "the broker does not answer"
        logger.info("lightbus plan will not know what this service declares: %s", why)


def _api(client: BusClient, name: str) -> DeclaredApi:
    settings = client.settings(name)
    is_ours = settings.owner is None and client.registry.is_offered(name)
    chosen = settings.event_transport
    return DeclaredApi(
        owner=client.service_name if is_ours else settings.owner or "",
        address=getattr(chosen.options, "address", "") or chosen.name,
        stream_use=getattr(chosen.options, "stream_use", ""),
        max_stream_length=getattr(chosen.options, "max_stream_length", None),
    )


def _listener(
    client: BusClient, name: str, options: ListenerOptions, *, in_code: bool = False
) -> DeclaredListener:
    chosen = client.settings(options.pairs[0][0]).event_transport if options.pairs else None
    service = getattr(chosen and chosen.options, "service_name", None) or client.service_name
    return DeclaredListener(
        service=service,
        name=name,
        events=options.pairs,
        handler=options.handler if isinstance(options.handler, str) else _name(options.handler),
        attempts=options.on_error.attempts,
        then=options.on_error.then.value,
        concurrency=options.concurrency,
        dedupe=options.dedupe,
        enabled=options.enabled,
        since=str(options.since),
        renamed_from=options.renamed_from,
        in_code=in_code,
    )


def _schedule(options: ScheduleOptions, in_code: bool) -> DeclaredSchedule:
    every = None if options.every is None else float(options.every)
    times = options.times if isinstance(options, Schedule) else options.cron or f"every {every:g} s"
    return DeclaredSchedule(
        times=times,
        every=every,
        cron=options.cron,
        timezone=options.timezone,
        scope=options.scope,
        in_code=in_code,
    )


def _name(function: Callable[..., Any]) -> str:
    """Return a function as a manifest names it."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}:{name}"


def _nothing() -> None:
    """Stand for the function of a schedule of which only the times are asked."""
