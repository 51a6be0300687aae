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
from lightbus.declared.names import did_you_mean
from lightbus.declared.registry import Registry
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
from lightbus.values import dump, marked

from .bus_options import fire_options, many_options
from .parts import Parts


@dataclass(slots=True, eq=False)
class Preparation:
    """All that firing an event needs besides its arguments, as one event loop has it.

    Args:
        loop: The event loop.
        edition: The state of the connections in which this was looked up.
        definition: The API, which this process owns.
        name: The event's name.
        event: The event.
        timeout: Seconds to wait for the broker, unless ``bus_options`` give others.
        transport: The transport.
        validator: Checks the arguments; None where they are not checked.
    """

    loop: asyncio.AbstractEventLoop
    edition: object
    definition: Definition
    name: str
    event: Event
    timeout: float
    transport: EventTransport
    validator: Validator | None

    def message(self, kwargs: Mapping[str, Any], message_id: str) -> EventMessage:
        """Make a message, with its arguments as JSON values; without an id, it gets a new one."""
        api_name, event = self.definition.name, self.event
        arguments = dump(event.bind(f"{api_name}.{self.name}", kwargs))
        return EventMessage(api_name, self.name, arguments, event.version, message_id)

    def outgoing(self, message: EventMessage) -> Outgoing:
        """Check the arguments, which hooks may have changed, and encode them."""
        if self.validator is not None:
            self.validator.validate(message.kwargs)
        return Outgoing(message, self.transport.encode(message), self.event.dedupe)


Made = tuple[Preparation, EventMessage]


class Firer:
    """Fires events by way of a bus; a single one is a list of one, whose error is raised as it is."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._connections = parts.connections
        self._find_api = parts.registry.find
        self._hooks = parts.hooks
        self._contracts = parts.contracts
        self._count = parts.metrics.events_fired.add
        self._preparations: dict[tuple[str, str], Preparation] = {}

    async def fire(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
    ) -> EventMessage:
        """Fire an event; see :meth:`BusClient.fire_event`."""
        started = time.perf_counter()
        labels, message = (api_name, name), None
        ready: list[Outgoing] = []
        try:
            timeout, message_id = fire_options(options)
            preparation = self._prepare(labels)
            message = preparation.message(kwargs or {}, message_id)
            await self._fire(((preparation, message),), timeout, ready)
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
        api_name, name = names
        settings, definition = self._parts.settings(api_name), self._own(api_name, name)
        self._contracts.set_local(definition)
        event, transport = definition.event(name), self._parts.transports().event(api_name)
        validator = self._contracts.event(api_name, name) if settings.validate.outgoing else None
        timeout = settings.event_fire_timeout
        made = Preparation(loop, edition, definition, name, event, timeout, transport, validator)
        self._preparations[names] = made
        return made

    def _own(self, api_name: str, name: str) -> Definition:
        """Return an API, which this process must own."""
        settings, registry = self._parts.settings(api_name), self._parts.registry
        definition = registry.offered(api_name)
        if settings.owner is not None:
            if settings.owner != self._parts.identity.service_name:
                raise _not_ours(self._parts, f"{api_name}.{name}", api_name, settings.owner)
            # The manifest gives it to this service, whether or not the code registers it.
            definition = definition or registry.find(api_name)
        if definition is None:
            raise _not_defined(registry, f"{api_name}.{name}", api_name)
        return definition


def _not_ours(parts: Parts, event: str, api_name: str, owner: str) -> NotAuthoritative:
    path = f"apis.{api_name}.owner"
    place = parts.wiring.origin(path) or "the manifest"
    return NotAuthoritative(
        f"{event} can't be fired here: {owner!r} owns the API, as {path} in {place} says, and this service "
        f"is {parts.identity.service_name!r}"
    )


def _not_defined(registry: Registry, event: str, api_name: str) -> NotAuthoritative:
    known, what = registry.find(api_name), f"{event} can't be fired here, since this"
    rule = "only the service that owns an API fires its events"
    if known is not None:
        name = known.cls.__name__
        return NotAuthoritative(
            f"{what} service imports the API {api_name!r} and does not register it; if it owns the API, "
            f"write bus.client.register_api({name}()), or apis.{api_name}.owner into the manifest: {rule}"
        )
    example = f"{api_name.rpartition('.')[2].title().replace('_', '')}Api"
    return NotAuthoritative(
        f"{what} process does not define the API {api_name!r}: before firing, import the module whose class "
        f"has Meta.name = {api_name!r}, such as `from bus import {example}`; {rule}"
        f"{did_you_mean(api_name, registry.public())}"
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
