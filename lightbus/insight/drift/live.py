"""What the bus has of a service: read by commands that change nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightbus.bus.client import BusClient
from lightbus.bus.groups import belongs
from lightbus.declared.settings import ChosenTransport, Identity
from lightbus.exceptions import LightbusException
from lightbus.insight.cards import read_cards, read_pauses
from lightbus.options import SecretUrl
from lightbus.transports.cards import Card, Pause
from lightbus.transports.events import EventTransport, GroupStatus, StreamStatus
from lightbus.transports.redis.options import RedisEventOptions

from .declared import Declared, DeclaredApi, read

#: The most events of a group whose attempts are looked at.
MOST_LOOKED_AT = 1_000
#: Seconds that a broker may take from which events have moved away.
_PATIENCE = 3.0
_PLAIN = re.compile(r"[^\s/()@,]+:\d+/\d+")

Event = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of events.

    Args:
        api: The API of its events.
        name: The place where the broker keeps them.
        events: The events, as pairs of API and event name.
        length: How many it has.
        groups: The groups that read it.
    """

    api: str
    name: str
    events: tuple[Event, ...]
    length: int = 0
    groups: tuple[GroupStatus, ...] = ()

    def group(self, name: str) -> GroupStatus | None:
        """Return the group of a name."""
        return next((group for group in self.groups if group.group == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What the bus has.

    Args:
        now: The time by the broker's clock.
        before: What the service declared when it was started last; None if that is not known.
        others: What other services declared that are on the same streams, or own its APIs.
        streams: The streams of its APIs, as the manifest has them now.
        left: The streams that it used before, at another place or spread otherwise, by API.
        unseen: Why nothing can be said of what was left, by API.
        attempts: How often the events were tried that wait for another attempt, by group.
        owners: The processes that own APIs now.
        contracts: The contracts that are published now.
        calls: How many calls there were of each procedure in the last hour, by the service that called.
        versions: The versions of the processes that are known, by service and name.
        calls_known: Whether processes tell what they call.
        pauses: The pauses of listeners of the service that hold now, by listener.
    """

    now: float
    before: Declared | None = None
    others: tuple[Declared, ...] = ()
    streams: tuple[Stream, ...] = ()
    left: Mapping[str, tuple[Stream, ...]] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    owners: Mapping[str, Sequence[Identity]] = field(default_factory=dict)
    contracts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    calls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    versions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    calls_known: bool = False
    pauses: Mapping[str, Pause] = field(default_factory=dict)

    @property
    def groups(self) -> list[GroupStatus]:
        """All groups of the streams."""
        return [group for stream in self.streams for group in stream.groups]

    def has_groups_of(self, service: str) -> bool:
        """Tell whether a service has a group on these streams."""
        return any(belongs(group, service) for group in self.groups)

    def others_own(self, api: str, service: str) -> Identity | None:
        """Return the process of another service that owns an API now."""
        return next((who for who in self.owners.get(api, ()) if who.service_name != service), None)


async def look(client: BusClient, declared: Declared) -> Live:
    """Read what the bus has of a service.

    Args:
        client: The bus.
        declared: What the service declares.

    Raises:
        TransportError: A broker can't be reached, or refuses.
    """
    parts, service = client.parts, declared.service
    schema = client.transports().schema()
    now = await schema.now()
    before = _read(await schema.declared([service])).get(service)
    # The events of APIs that are not defined here are in their contracts.
    await parts.watch.load(only_look=True)
    names = sorted(_apis(declared) | (_apis(before) if before is not None else set()))
    streams = [
        s for found in await asyncio.gather(*(_streams(client, n, declared) for n in names)) for s in found
    ]
    owners = await schema.owners(names)
    near = {group.service for stream in streams for group in stream.groups}
    near |= {who.service_name for each in owners.values() for who in each}
    others = _read(await schema.declared(sorted(near - {"", service})))
    cards = await read_cards(client)
    left, unseen = await _left(client, before, declared) if before is not None else ({}, {})
    return Live(
        now=now,
        before=before,
        others=tuple(others.values()),
        streams=tuple(streams),
        left=left,
        unseen=unseen,
        attempts=await _attempts(client, service, streams),
        owners=owners,
        contracts=dict(parts.contracts.on_bus()),
        calls=_calls(cards),
        versions={(card.service, card.process): card.version for card in cards if card.version},
        calls_known=bool(cards),
        pauses={name: it for (_, name), it in (await read_pauses(client, [service])).items()},
    )


def _calls(cards: Iterable[Card]) -> dict[str, dict[str, int]]:
    """Return how often each procedure was called in the last hour, by the service that called."""
    found: dict[str, dict[str, int]] = {}
    for card in cards:
        for procedure, count in card.calls.items():
            by = found.setdefault(procedure, {})
            by[card.service] = by.get(card.service, 0) + count
    return found


def _apis(declared: Declared) -> set[str]:
    return {*declared.apis, *(api for each in declared.listeners.values() for api in each.apis)}


def _read(records: Mapping[str, bytes]) -> dict[str, Declared]:
    found = {name: read(record) for name, record in records.items()}
    return {name: declared for name, declared in found.items() if declared is not None}


async def _streams(client: BusClient, api: str, declared: Declared) -> list[Stream]:
    return _of_api(api, await client.transports().event(api).look_at(_events(client, api, declared)))


def _of_api(api: str, found: Iterable[StreamStatus]) -> list[Stream]:
    return [Stream(api, each.name, each.events, each.length, each.groups) for each in found]


def _events(client: BusClient, api: str, declared: Declared) -> list[Event]:
    """Return the events of an API that are known here, by its contract, or to a listener."""
    definition = client.registry.find(api)
    told = (client.parts.contracts.get(api) or {}).get("events", {})
    listened = [name for each in declared.listeners.values() for of, name in each.events if of == api]
    names = [*(definition.events if definition is not None else ()), *told, *listened, "*"]
    return [(api, name) for name in dict.fromkeys(names)]


async def _attempts(client: BusClient, service: str, streams: Sequence[Stream]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for stream in streams:
        for status in stream.groups:
            if status.retrying and belongs(status, service):
                transport = client.transports().event(stream.api)
                found.setdefault(status.group, []).extend(await transport.attempts(status, MOST_LOOKED_AT))
    return found


async def _left(
    client: BusClient, before: Declared, declared: Declared
) -> tuple[dict[str, tuple[Stream, ...]], dict[str, str]]:
    """Look at the streams that are used no more, since events go elsewhere or are spread otherwise."""
    left: dict[str, tuple[Stream, ...]] = {}
    unseen: dict[str, str] = {}
    for api, then in before.apis.items():
        now = declared.apis.get(api)
        if now is None or (now.address, now.stream_use) == (then.address, then.stream_use):
            continue
        transport = _transport(client, api, then)
        if transport is None:
            unseen[api] = f"{then.address} is not in the manifest"
            continue
        try:
            async with asyncio.timeout(_PATIENCE):
                left[api] = tuple(_of_api(api, await transport.look_at(_events(client, api, before))))
        except (TimeoutError, LightbusException) as e:
            unseen[api] = str(e) or f"{then.address} does not answer"
    return left, unseen


def _transport(client: BusClient, api: str, then: DeclaredApi) -> EventTransport | None:
    """Return a transport to where events of an API went before; None if nothing says how to reach that.

    The address comes from the bus. So a password goes there only if the manifest names the same address.
    """
    settings = [client.settings(name) for name in ("default", api, *client.parts.wiring.api_names)]
    known = [each.event_transport.options for each in settings]
    options = next((o for o in known if isinstance(o, RedisEventOptions) and o.address == then.address), None)
    if options is None and _PLAIN.fullmatch(then.address):
        options = RedisEventOptions(url=SecretUrl(f"redis://{then.address}"))
    if options is None:
        return None
    chosen = replace(options, stream_use="per_event" if then.stream_use == "per_event" else "per_api")
    return client.transports().reach(ChosenTransport("redis", chosen))
