"""Contracts, owners and schedules within one process."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from lightbus.declared.settings import Identity
from lightbus.serializers import json_bytes
from lightbus.transports.audit import MOST_ENTRIES, Act, read_act, write_act
from lightbus.transports.cards import AllPauses, Card, Pause, kept_as, read_card, sorted_out
from lightbus.transports.memory.broker import broker as broker
from lightbus.transports.memory.broker import from_json
from lightbus.transports.memory.events import _InProcess
from lightbus.transports.memory.ticks import Ticks
from lightbus.transports.schema import SchemaTransport


class MemorySchemaTransport(_InProcess, SchemaTransport):
    """Keeps contracts for the buses of this event loop."""

    async def store(
        self, contracts: Mapping[str, Mapping[str, Any]], ttl: float, *, human_readable: bool = True
    ) -> None:
        """Publish contracts for ``ttl`` seconds; who has started later has the last word."""
        expires = time.monotonic() + ttl
        for api_name, contract in contracts.items():
            broker().contracts.setdefault(api_name, {})[self] = (expires, json_bytes(contract))

    async def withdraw(self, api_names: Sequence[str]) -> None:
        """Remove those for which nobody else stands."""
        for api_name in api_names:
            broker().contracts.get(api_name, {}).pop(self, None)

    async def load(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return the contracts that have not expired."""
        now, found = time.monotonic(), {}
        for api_name, stored in broker().contracts.items():
            blobs = [blob for expires, blob in stored.values() if expires > now]
            if blobs:
                found[api_name] = from_json(blobs[-1])
        return found

    async def own(self, api_names: Sequence[str], identity: Identity, ttl: float) -> Mapping[str, str]:
        """Become, or stay, an owner of APIs; returns the service that owns each."""
        now, holders = time.monotonic(), {}
        for name in api_names:
            owners = {who: until for who, until in broker().owners.get(name, {}).items() if until > now}
            holders[name] = next(iter(owners), identity).service_name
            if holders[name] == identity.service_name:
                owners[identity] = now + ttl
            broker().owners[name] = owners
        return holders

    async def disown(self, api_names: Sequence[str], identity: Identity) -> None:
        """Own APIs no more."""
        for name in api_names:
            broker().owners.get(name, {}).pop(identity, None)

    async def owners(self, api_names: Sequence[str]) -> Mapping[str, Sequence[Identity]]:
        """Return the processes whose lease on an API has not run out."""
        now, owners = time.monotonic(), broker().owners
        return {n: [who for who, until in owners.get(n, {}).items() if until > now] for n in api_names}

    async def show_card(self, identity: Identity, card: bytes, seconds: float) -> None:
        """Let everybody who looks at the bus see the card of this process."""
        broker().cards[identity] = (time.monotonic() + seconds, card)

    async def take_card_down(self, identity: Identity) -> None:
        """Let nobody see the card of this process any more."""
        broker().cards.pop(identity, None)

    async def cards(self) -> Sequence[Card]:
        """Return the cards that have not ended."""
        now, cards = time.monotonic(), broker().cards
        names = sorted(cards, key=lambda who: (who.service_name, who.process_name))
        read = [read_card(cards[who][1]) for who in names if cards[who][0] > now]
        return [card for card in read if card is not None]

    async def pause(self, service: str, listener: str, pause: Pause) -> None:
        """Pause a listener of a service, or change its pause."""
        broker().pauses[service, listener] = pause

    async def resume(self, service: str, listener: str) -> bool:
        """End the pause of a listener; tell whether there was one."""
        return broker().pauses.pop((service, listener), None) is not None

    async def pause_schedule(self, service: str, schedule: str, pause: Pause) -> None:
        """Pause a schedule of a service, or change its pause."""
        broker().pauses[service, kept_as(schedule)] = pause

    async def all_pauses(self, services: Collection[str]) -> AllPauses:
        """Return the pauses of listeners and of schedules."""
        held = [(names, pause) for names, pause in broker().pauses.items() if names[0] in services]
        return sorted_out(held, broker().clock.now())

    async def note_act(self, act: Act) -> bool:
        """Keep an entry of the audit."""
        kept, now = broker().audit, broker().clock.now()
        kept.append(read_act(write_act(act), broker().new_id(now), now))
        del kept[:-MOST_ENTRIES]
        return True

    async def past_acts(self, before: str = "", count: int = 1_000) -> Sequence[Act]:
        """Return entries of the audit, the newest first."""
        found = (act for act in reversed(broker().audit) if not before or _number(act.id) < _number(before))
        return list(itertools.islice(found, count))

    async def acts_after(self, after: str, count: int = 1_000) -> Sequence[Act]:
        """Return entries of the audit, the oldest first."""
        found = (act for act in broker().audit if not after or _number(act.id) > _number(after))
        return list(itertools.islice(found, count))

    async def note_declared(self, service: str, record: bytes) -> None:
        """Keep what a service declares."""
        broker().declared[service] = record

    async def declared(self, services: Sequence[str]) -> Mapping[str, bytes]:
        """Return what services declared when they were started last."""
        return {name: broker().declared[name] for name in services if name in broker().declared}

    async def note_errand(self, errand_id: str, errand: bytes) -> None:
        """Keep what somebody wants to be done."""
        broker().errands[errand_id] = errand

    async def errands(self) -> Mapping[str, bytes]:
        """Return what is still to be done."""
        return dict(broker().errands)

    async def end_errand(self, errand_id: str) -> bool:
        """Forget what is done."""
        return broker().errands.pop(errand_id, None) is not None

    async def claim(
        self, schedule: str, tick: float, holder: str, lease: float, *, catch_up: bool = False
    ) -> Literal["ours", "had", "busy", "early"]:
        """Take one tick of a schedule."""
        ticks = broker().ticks.setdefault(schedule, Ticks())
        return ticks.claim(tick, holder, lease, broker().clock.now(), catch_up=catch_up)

    async def hold(self, schedule: str, holder: str, lease: float) -> bool:
        """Renew or end the lease of a tick."""
        ticks = broker().ticks.get(schedule)
        return ticks is not None and ticks.hold(holder, lease, broker().clock.now())


def _number(entry_id: str) -> int:
    """Return the part of an id by which entries are in order, whatever the clock does."""
    return int(entry_id.partition("-")[2] or 0)
