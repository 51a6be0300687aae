"""Firing events, alone or in lists, up to the transport and back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightbus.declared.definition import Event
from lightbus.declared.names import did_you_mean
from lightbus.declared.settings import ApiSettings
from lightbus.exceptions import (
    EventsNotFired,
    FireOutcome,
    InvalidParameters,
    LightbusException,
    NotAuthoritative,
    StreamFull,
    TransportUnavailable,
)
from lightbus.messages import EventMessage
from lightbus.plugins.hooks import Beside
from lightbus.runtime import traffic
from lightbus.transports.events import EventTransport, Outgoing
from lightbus.values import dump

from .bus_options import fire_options, many_options
from .parts import Parts


class Firer:
    """Fires events by way of a bus.

    One event and a list of events are prepared alike, and sent differently. One event takes the shortest way,
    and its hooks nest. For a list, the hooks of its events run beside each other.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._hooks = parts.hooks
        self._contracts = parts.contracts
        self._count = parts.metrics.events_fired.add

    async def fire(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
    ) -> EventMessage:
        """Fire an event; see :meth:`BusClient.fire_event`."""
        started = time.perf_counter()
        outcome, message = "failed", None
        try:
            event, settings = self._own(api_name, name)
            timeout, message_id = fire_options(options, settings.event_fire_timeout)
            message = _message(api_name, name, event, kwargs or {}, message_id)
            if self._hooks.around_event_sent:
                with self._hooks.around_event_sent(message):
                    await self._send(message, event, settings, timeout)
            else:
                await self._send(message, event, settings, timeout)
            outcome = "ok"
            return message
        finally:
            seconds = time.perf_counter() - started
            self._count((api_name, name), outcome, seconds)
            if message is not None and traffic.is_logged(traffic.DEBUG):
                traffic.log("fired", message.canonical_name, message.id, outcome, seconds)

    async def fire_many(
        self, events: Iterable[tuple[str, str, Mapping[str, Any]]], options: Mapping[str, Any] | None
    ) -> list[EventMessage]:
        """Fire a list of events; see :meth:`BusClient.fire_many`."""
        wanted = list(events)
        for index, each in enumerate(wanted):
            _check_shape(index, each)
        timeout, ids = many_options(options, len(wanted))
        started = time.perf_counter()
        sent: list[Outgoing] = []
        try:
            await self._fire_many(wanted, ids, timeout, sent)
        finally:
            stored = Counter(
                (e.message.api_name, e.message.event_name) for e in sent if e.message.native_id is not None
            )
            # Each event has its share of the time.
            seconds = (time.perf_counter() - started) / max(1, len(wanted))
            for labels, count in Counter((api_name, name) for api_name, name, _ in wanted).items():
                for outcome, n in (("ok", stored[labels]), ("failed", count - stored[labels])):
                    if n:
                        self._count(labels, outcome, seconds, n)
            for message in [event.message for event in sent] if traffic.is_logged(traffic.DEBUG) else ():
                outcome = "failed" if message.native_id is None else "ok"
                traffic.log("fired", message.canonical_name, message.id, outcome, seconds)
        if any(event.error is not None for event in sent):
            raise _not_all_fired(sent)
        return [event.message for event in sent]

    async def _send(self, message: EventMessage, event: Event, settings: ApiSettings, timeout: float) -> None:
        hooks = self._hooks
        if hooks.before_event_sent:
            await hooks.before_event_sent(message)
        self._check(message, settings)
        await self._parts.transports().event(message.api_name).publish((message,), timeout, event.dedupe)
        if hooks.after_event_sent:
            await hooks.after_event_sent(message)

    def _check(self, message: EventMessage, settings: ApiSettings) -> None:
        if settings.validate.outgoing:
            validator = self._contracts.event(message.api_name, message.event_name)
            if validator is not None:
                validator.validate(message.kwargs)

    def _own(self, api_name: str, name: str) -> tuple[Event, ApiSettings]:
        """Return an event and the settings of its API, which this process must own."""
        settings, definition = self._parts.settings(api_name), self._parts.registry.find(api_name)
        if settings.owner is not None and settings.owner != (service := self._parts.identity.service_name):
            path = f"apis.{api_name}.owner"
            place = self._parts.wiring.origin(path) or "the manifest"
            raise NotAuthoritative(
                f"{api_name}.{name} can't be fired here: {settings.owner!r} owns the API, as {path} "
                f"in {place} says, and this service is {service!r}"
            )
        if definition is None:
            defined = self._parts.registry.public()
            raise NotAuthoritative(
                f"{api_name}.{name} can't be fired here, since this process does not define the API "
                f"{api_name!r}: before firing, import the module whose class has Meta.name = {api_name!r}, "
                f"such as `from bus import {api_name.rpartition('.')[2].title().replace('_', '')}Api`; "
                f"only the service that owns an API fires its events{did_you_mean(api_name, defined)}"
            )
        self._contracts.set_local(definition)
        return definition.event(name), settings

    async def _fire_many(
        self,
        wanted: Sequence[tuple[str, str, Mapping[str, Any]]],
        ids: Sequence[str | None],
        timeout: float | None,
        sent: list[Outgoing],
    ) -> None:
        """Check all events, then send all; they are put into ``sent`` just before they are sent."""
        index, hooks = 0, self._hooks
        made: list[tuple[EventMessage, Event, ApiSettings]] = []
        known: dict[tuple[str, str], tuple[Event, ApiSettings]] = {}
        around = Beside()
        try:
            for index, (api_name, name, kwargs) in enumerate(wanted):
                if (api_name, name) not in known:
                    known[api_name, name] = self._own(api_name, name)
                event, settings = known[api_name, name]
                message = _message(api_name, name, event, kwargs, ids[index] or "")
                made.append((message, event, settings))
            if hooks.around_event_sent:
                for message, _, _ in made:
                    around.enter(hooks.around_event_sent(message))
            ready: list[Outgoing] = []
            for index, (message, event, settings) in enumerate(made):  # noqa: B007 - told below
                if hooks.before_event_sent:
                    await hooks.before_event_sent(message)
                self._check(message, settings)
                body = self._parts.transports().event(message.api_name).encode(message)
                ready.append(Outgoing(message, body, event.dedupe))
        except BaseException as e:
            around.leave([e] * len(made))
            if isinstance(e, LightbusException):
                e.args = (f"event {index} of the list: {e}; none of the {len(wanted)} events was fired",)
            raise
        if timeout is None:
            timeout = max((settings.event_fire_timeout for _, settings in known.values()), default=0.0)
        sent += ready
        try:
            await self._publish_many(ready, timeout)
        finally:
            around.leave([event.error for event in ready])
        if hooks.after_event_sent:
            for stored in ready:
                if stored.error is None:
                    await hooks.after_event_sent(stored.message)

    async def _publish_many(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Send events over their transports, all at the same time."""
        groups: dict[EventTransport, list[Outgoing]] = {}
        for event in events:
            groups.setdefault(self._parts.transports().event(event.message.api_name), []).append(event)
        await asyncio.gather(*(_publish(transport, group, timeout) for transport, group in groups.items()))


def _message(
    api_name: str, name: str, event: Event, kwargs: Mapping[str, Any], message_id: str
) -> EventMessage:
    """Make the message of an event, with its arguments as JSON values."""
    arguments = dump(event.bind(f"{api_name}.{name}", kwargs))
    return EventMessage(api_name, name, arguments, event.version, message_id)


async def _publish(transport: EventTransport, events: Sequence[Outgoing], timeout: float) -> None:
    try:
        await transport.publish_each(events, timeout)
    except LightbusException as e:
        for event in events:
            if event.message.native_id is None and event.error is None:
                event.error = e


def _not_all_fired(sent: Sequence[Outgoing]) -> EventsNotFired:
    outcomes = [_outcome(index, event) for index, event in enumerate(sent)]
    first = next(outcome for outcome in outcomes if outcome.error is not None)
    states = Counter(outcome.state for outcome in outcomes)
    return EventsNotFired(
        f"of {len(sent)} events, {states['not stored']} are not stored and {states['unknown']} may or may "
        f"not be; `rest` of this error has those to fire again. The first is event {first.index}: "
        f"{first.error}",
        outcomes,
    )


def _outcome(index: int, event: Outgoing) -> FireOutcome:
    message, error = event.message, event.error
    if error is None:
        return FireOutcome(index, message.id, "stored", message.native_id)
    is_known = isinstance(error, TransportUnavailable | StreamFull)
    return FireOutcome(index, message.id, "not stored" if is_known else "unknown", None, error)


def _check_shape(index: int, event: object) -> None:
    if not (
        isinstance(event, tuple | list)
        and len(event) == 3
        and isinstance(event[0], str)
        and isinstance(event[1], str)
        and isinstance(event[2], Mapping)
    ):
        raise InvalidParameters(
            f"event {index} of the list is {event!r:.80}; give (api_name, event_name, arguments), "
            "the arguments as a dict"
        )
