"""Firing events, alone or in lists, up to the transport and back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightbus.contracts.validator import Validator
from lightbus.declared.definition import Definition, Event
from lightbus.exceptions import (
    EventsNotFired,
    FireOutcome,
    InvalidParameters,
    LightbusException,
    OutboxRequired,
    StreamFull,
    TransportUnavailable,
)
from lightbus.messages import EventMessage
from lightbus.plugins.hooks import Beside
from lightbus.runtime import traffic
from lightbus.transports.events import EventTransport, Outgoing
from lightbus.values import dump_arguments, marked

from .bus_options import fire_options, many_options
from .parts import Parts


@dataclass(slots=True, eq=False)
class Draft:
    """All that making an event needs besides its arguments.

    Args:
        edition: The state of the connections in which this was looked up.
        definition: The API, which this process owns.
        name: The event's name.
        event: The event.
        validator: Checks the arguments; None where they are not checked.
    """

    edition: object
    definition: Definition
    name: str
    event: Event
    validator: Validator | None

    def message(self, kwargs: Mapping[str, Any], message_id: str) -> EventMessage:
        """Make a message, with its arguments as JSON values; without an id, it gets a new one."""
        api_name, event = self.definition.name, self.event
        arguments = event.bind(f"{api_name}.{self.name}", kwargs)
        arguments = dump_arguments(arguments, "event", api_name, self.name)
        return EventMessage(api_name, self.name, arguments, event.version, message_id)

    def check(self, message: EventMessage) -> None:
        """Check the arguments against the contract."""
        if self.validator is not None:
            self.validator.validate(message.kwargs)

    def values(self) -> tuple[object, Definition, str, Event, Validator | None]:
        """Return its fields, to make more of them."""
        return self.edition, self.definition, self.name, self.event, self.validator


@dataclass(slots=True, eq=False)
class Preparation(Draft):
    """All that firing an event needs besides its arguments, as one event loop has it.

    Args:
        loop: The event loop.
        timeout: Seconds to wait for the broker, unless ``bus_options`` give others.
        transport: The transport.
    """

    loop: asyncio.AbstractEventLoop
    timeout: float
    transport: EventTransport

    def outgoing(self, message: EventMessage) -> Outgoing:
        """Check the arguments, which hooks may have changed, and encode them."""
        self.check(message)
        return Outgoing(message, self.transport.encode(message), self.event.dedupe)


@dataclass(frozen=True, slots=True, eq=False)
class Resending:
    """All that firing an event needs that was made before, and checked then.

    Args:
        timeout: Seconds to wait for the broker.
        transport: The transport.
        dedupe: Seconds for which the same id is stored only once.
        key: Of events that are stored in their order; empty for none.
    """

    timeout: float
    transport: EventTransport
    dedupe: float
    key: str

    def outgoing(self, message: EventMessage) -> Outgoing:
        """Encode a message."""
        return Outgoing(message, self.transport.encode(message), self.dedupe, key=self.key)


Made = tuple[Preparation | Resending, EventMessage]


class Firer:
    """Fires events by way of a bus; a single one is a list of one, whose error is raised as it is."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._connections = parts.connections
        self._find_api = parts.registry.find
        self._hooks = parts.hooks
        self._count = parts.metrics.events_fired.add
        self._preparations: dict[tuple[str, str], Preparation] = {}
        self._drafts: dict[tuple[str, str], Draft] = {}

    async def fire(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
    ) -> EventMessage:
        """Fire an event; see :meth:`BusClient.fire_event`."""
        started = time.perf_counter()
        hooks, labels, message = self._hooks, (api_name, name), None
        ready: list[Outgoing] = []
        try:
            timeout, message_id = fire_options(options)
            preparation = self._prepare(labels)
            message = preparation.message(kwargs or {}, message_id)
            if hooks.around_event_sent or hooks.before_event_sent or hooks.after_event_sent:
                await self._fire(((preparation, message),), timeout, ready)
            else:
                ready.append(preparation.outgoing(message))
                wait = preparation.timeout if timeout is None else timeout
                await preparation.transport.publish_each(ready, wait)
        finally:
            seconds = time.perf_counter() - started
            self._count(labels, _outcome(message), seconds)
            if message is not None and traffic.is_logged(traffic.DEBUG):
                _tell(message, seconds)
        if ready[0].error is not None:
            raise ready[0].error
        return message

    async def fire_many(
        self, events: Iterable[tuple[str, str, Mapping[str, Any]]], options: Mapping[str, Any] | None
    ) -> list[EventMessage]:
        """Fire a list of events; see :meth:`BusClient.fire_many`."""
        wanted = list(events)
        for index, each in enumerate(wanted):
            _check_shape(index, each)
        timeout, ids = many_options(options, len(wanted))
        started = time.perf_counter()
        made: list[Made] = []
        ready: list[Outgoing] = []
        try:
            known: dict[tuple[str, str], Preparation] = {}
            for (api_name, name, kwargs), message_id in zip(wanted, ids, strict=True):
                names = api_name, name
                preparation = known.get(names)
                if preparation is None:
                    preparation = known[names] = self._prepare(names)
                made.append((preparation, preparation.message(kwargs, message_id)))
            await self._fire(made, timeout, ready)
        except LightbusException as e:
            # Nothing was sent: from then on, an error is the outcome of its event.
            index = len(ready) if len(made) == len(wanted) else len(made)
            e.args = (f"event {index} of the list: {e}; none of the {len(wanted)} events was fired",)
            raise
        finally:
            # Each event has its share of the time.
            seconds = (time.perf_counter() - started) / max(1, len(wanted))
            outcomes = [_outcome(message) for _, message in made]
            outcomes += ["failed"] * (len(wanted) - len(made))
            labels = [(api_name, name) for api_name, name, _ in wanted]
            for (names, outcome), n in Counter(zip(labels, outcomes, strict=True)).items():
                self._count(names, outcome, seconds, n)
            for _, message in made if traffic.is_logged(traffic.DEBUG) else ():
                _tell(message, seconds)
        if any(event.error is not None for event in ready):
            raise _not_all_fired(ready)
        return [message for _, message in made]

    def draft(self, names: tuple[str, str], kwargs: Mapping[str, Any], message_id: str) -> EventMessage:
        """Make an event that :meth:`send` sends later; it needs no event loop and no broker.

        Args:
            names: The API and the event.
            kwargs: Its arguments.
            message_id: Its id; a new one if it is empty.
        """
        draft = self._drafts.get(names)
        if (
            draft is None
            or draft.edition is not self._connections.edition
            or draft.definition is not self._find_api(names[0])
        ):
            draft = self._drafts[names] = _drafted(self._parts, names)
        message = draft.message(kwargs, message_id)
        draft.check(message)
        return message

    async def send(
        self,
        messages: Sequence[EventMessage],
        keys: Sequence[str],
        timeout: float,
        dedupe: float,
        ready: list[Outgoing],
    ) -> None:
        """Fire events that were made and checked before, as those of an outbox, in their order.

        Args:
            messages: The events.
            keys: The key of each: where one is refused, those of its key after it are not stored either.
            timeout: Seconds to wait for the broker.
            dedupe: Seconds for which the same id is stored only once, at least.
            ready: Takes each event as it is encoded, and then its outcome; where one can't be sent, this
                raises, and it has those before that one.
        """
        started, transports = time.perf_counter(), self._parts.transports()
        known: dict[tuple[str, str, str], Resending] = {}
        made: list[Made] = []
        for message, key in zip(messages, keys, strict=True):
            kind = message.api_name, message.event_name, key
            if kind not in known:
                longest = max(dedupe, _declared_dedupe(self._parts, kind[:2]) or 0.0)
                known[kind] = Resending(timeout, transports.event(message.api_name), longest, key)
            made.append((known[kind], message))
        await self._fire(made, timeout, ready)
        seconds = (time.perf_counter() - started) / max(1, len(made))
        labels = [(event.message.api_name, event.message.event_name) for event in ready]
        outcomes = [_outcome(event.message) for event in ready]
        for (names, outcome), n in Counter(zip(labels, outcomes, strict=True)).items():
            self._count(names, outcome, seconds, n)

    async def _fire(self, made: Sequence[Made], timeout: float | None, ready: list[Outgoing]) -> None:
        """Check all events, then send all; ``ready`` takes each as it is checked, and then its outcome."""
        hooks = self._hooks
        around = Beside(alone=len(made) == 1) if hooks.around_event_sent else None
        try:
            if around is not None and hooks.around_event_sent:
                for _, message in made:
                    around.enter(hooks.around_event_sent(message))
            for preparation, message in made:
                if hooks.before_event_sent:
                    await hooks.before_event_sent(message)
                    message.kwargs = marked(message.kwargs)
                ready.append(preparation.outgoing(message))
            await _publish_all(made, ready, timeout)
            if hooks.after_event_sent:
                for event in ready:
                    if event.error is None:
                        await hooks.after_event_sent(event.message)
        except BaseException as e:
            if around is not None:
                around.leave([e] * len(made))
            raise
        if around is not None:
            around.leave([event.error for event in ready])

    def _prepare(self, names: tuple[str, str]) -> Preparation:
        """Return what firing an event needs; it is kept until something changes."""
        loop, edition = asyncio.get_running_loop(), self._connections.edition
        kept = self._preparations.get(names)
        if (
            kept is not None
            and kept.loop is loop
            and kept.edition is edition
            and kept.definition is self._find_api(names[0])
        ):
            return kept
        settings = self._parts.settings(names[0])
        if settings.outbox == "required":
            raise _outbox_required(self._parts, names)
        draft, transport = _drafted(self._parts, names), self._parts.transports().event(names[0])
        made = Preparation(*draft.values(), loop, settings.event_fire_timeout, transport)
        self._preparations[names] = made
        return made


def _drafted(parts: Parts, names: tuple[str, str]) -> Draft:
    """Return what making an event needs.

    Raises:
        NotAuthoritative: This process does not own the API.
        EventNotFound: The API has no such event.
    """
    api_name, name = names
    definition = parts.own(api_name, name)
    parts.contracts.set_local(definition)
    event = definition.event(name)
    validator = parts.contracts.event(api_name, name) if parts.settings(api_name).validate.outgoing else None
    return Draft(parts.connections.edition, definition, name, event, validator)


def _declared_dedupe(parts: Parts, names: tuple[str, str]) -> float | None:
    """Return for how many seconds ids of an event are remembered, as far as this process knows its API."""
    definition = parts.registry.find(names[0])
    event = definition.events.get(names[1]) if definition is not None else None
    return event.dedupe if event is not None else None


def _outbox_required(parts: Parts, names: tuple[str, str]) -> OutboxRequired:
    """Return the error of an event that may only be fired by way of an outbox."""
    event, path = ".".join(names), f"apis.{names[0]}.outbox"
    place = parts.wiring.origin(path) or parts.wiring.origin("apis.default.outbox") or "the manifest"
    return OutboxRequired(
        f"{event} goes through an outbox only, as {path} in {place} says: write "
        f"outbox(bus).{event}.fire(...) within the transaction, by `from lightbus.django import outbox` or "
        "`from lightbus.sqlalchemy import outbox`"
    )


async def _publish_all(made: Sequence[Made], ready: Sequence[Outgoing], timeout: float | None) -> None:
    """Send events over their transports, all at the same time."""
    if len(ready) == 1:
        preparation = made[0][0]
        await _publish(preparation.transport, ready, preparation.timeout if timeout is None else timeout)
        return
    if timeout is None:
        timeout = max((preparation.timeout for preparation, _ in made), default=0.0)
    groups: dict[EventTransport, list[Outgoing]] = {}
    for (preparation, _), event in zip(made, ready, strict=True):
        groups.setdefault(preparation.transport, []).append(event)
    await asyncio.gather(*(_publish(transport, group, timeout) for transport, group in groups.items()))


async def _publish(transport: EventTransport, events: Sequence[Outgoing], timeout: float) -> None:
    try:
        await transport.publish_each(events, timeout)
    except LightbusException as e:
        for event in events:
            if event.message.native_id is None and event.error is None:
                event.error = e


def _outcome(message: EventMessage | None) -> str:
    return "failed" if message is None or message.native_id is None else "ok"


def _tell(message: EventMessage, seconds: float) -> None:
    traffic.log("fired", message, _outcome(message), seconds)


def _not_all_fired(sent: Sequence[Outgoing]) -> EventsNotFired:
    outcomes = [_fire_outcome(index, event) for index, event in enumerate(sent)]
    first = next(outcome for outcome in outcomes if outcome.error is not None)
    states = Counter(outcome.state for outcome in outcomes)
    return EventsNotFired(
        f"of {len(sent)} events, {states['not stored']} are not stored and {states['unknown']} may or may "
        f"not be; `rest` of this error has those to fire again. The first is event {first.index}: "
        f"{first.error}",
        outcomes,
    )


def _fire_outcome(index: int, event: Outgoing) -> FireOutcome:
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
