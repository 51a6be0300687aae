"""The half of a bus that fires events, alone or in lists, with what it shares with the half that calls."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from lightbus.bus.bus_options import _fire_options, _many_options
from lightbus.contracts.known import Contracts
from lightbus.declared.definition import Definition, Event
from lightbus.declared.registry import Registry
from lightbus.declared.settings import ApiSettings, Wiring
from lightbus.exceptions import (
    BusAlreadyClosed,
    EventsNotFired,
    FireOutcome,
    InvalidParameters,
    LightbusException,
    NotAuthoritative,
    StreamFull,
    TransportUnavailable,
)
from lightbus.messages import EventMessage
from lightbus.metrics import Metrics
from lightbus.plugins.hooks import Beside
from lightbus.runtime import traffic
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.events import EventTransport, Outgoing
from lightbus.values import dump

from .connections import Transports
from .declarations import Declarations


class Firing(Declarations):
    """A bus as far as firing needs one."""

    def __init__(self, wiring: Wiring, registry: Registry) -> None:
        super().__init__(registry)
        self.wiring = wiring
        #: What this bus has done so far.
        self.metrics = Metrics()
        #: What keeps it from its work at present.
        self.obstacles = Obstacles()
        self.contracts = Contracts()
        self._settings: dict[str, ApiSettings] = {}
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, Transports] = WeakKeyDictionary()
        #: The loop that was asked for last, and its transports.
        self._latest: tuple[asyncio.AbstractEventLoop | None, Transports | None] = None, None
        self._closed = False

    @property
    def service_name(self) -> str:
        """The service that this process belongs to."""
        return self.wiring.identity.service_name

    @property
    def process_name(self) -> str:
        """This process's name."""
        return self.wiring.identity.process_name

    def settings(self, api_name: str) -> ApiSettings:
        """Return what is configured for an API."""
        settings = self._settings.get(api_name)
        if settings is None:
            settings = self._settings[api_name] = self.wiring.api(api_name)
        return settings

    def rewire(self, wiring: Wiring) -> None:
        """Take other settings of APIs from now on; transports that are open stay."""
        self.wiring = wiring
        self._settings.clear()

    def transports(self) -> Transports:
        """Return the transports of the running event loop, which are made when first asked for."""
        if self._closed:
            raise BusAlreadyClosed("this bus was closed; make a new one with lightbus.create()")
        loop = asyncio.get_running_loop()
        latest, transports = self._latest
        if loop is latest and transports is not None:
            return transports
        transports = self._open.get(loop)
        if transports is None:
            transports = self._open[loop] = Transports(self.wiring, self.metrics, self.obstacles)
        self._latest = loop, transports
        return transports

    async def fire_event(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> EventMessage:
        """Fire an event and wait until the broker has stored it.

        Args:
            api_name: The API, which this process must own.
            name: The event.
            kwargs: Its arguments.
            options: ``timeout``: seconds to wait, instead of the API's ``event_fire_timeout``; ``id``: the
                event's id, such as that of a ``PublishNotConfirmed``, instead of a new one.

        Returns:
            The event, with its id and the broker's.

        Raises:
            NotAuthoritative: This process does not own the API.
            EventNotFound: The API has no such event.
            InvalidEventArguments: The arguments are not the event's.
            ValidationError: An argument does not fit the contract.
            PublishNotConfirmed: It may or may not be stored.
            TransportUnavailable: It was not stored.
        """
        started = time.perf_counter()
        outcome = "failed"
        try:
            message = await self._fire(api_name, name, kwargs or {}, options, started)
            outcome = "ok"
            return message
        finally:
            self.metrics.events_fired.add((api_name, name), outcome, time.perf_counter() - started)

    async def fire_many(
        self, events: Iterable[tuple[str, str, Mapping[str, Any]]], options: Mapping[str, Any] | None = None
    ) -> list[EventMessage]:
        """Fire a list of events in few writes, and wait until the broker has stored all of them.

        All of them are checked before any is sent. They are stored in their order on each broker.

        Args:
            events: Of each event the API, its name and its arguments.
            options: ``timeout``: seconds to wait for all of them, instead of the longest
                ``event_fire_timeout`` of their APIs; ``ids``: the id of each event, None for a new one.

        Returns:
            The events, with their ids and the broker's.

        Raises:
            EventsNotFired: Some are not stored, or may not be; its ``outcomes`` tell of each.
            LightbusException: One of them can't be fired, as with :meth:`fire_event`; the message tells its
                place in the list, and nothing was fired.
        """
        wanted = list(events)
        for index, each in enumerate(wanted):
            _check_shape(index, each)
        timeout, ids = _many_options(options, len(wanted))
        started = time.perf_counter()
        sent: list[Outgoing] = []
        try:
            await self._fire_many(wanted, ids, timeout, sent)
        finally:
            stored = Counter(
                (e.message.api_name, e.message.event_name) for e in sent if e.message.native_id is not None
            )
            # Each has its share of the time.
            seconds = (time.perf_counter() - started) / max(1, len(wanted))
            for labels, count in Counter((api_name, name) for api_name, name, _ in wanted).items():
                for outcome, n in (("ok", stored[labels]), ("failed", count - stored[labels])):
                    if n:
                        self.metrics.events_fired.add(labels, outcome, seconds, n)
            for message in [event.message for event in sent] if traffic.is_logged(traffic.DEBUG) else ():
                outcome = "failed" if message.native_id is None else "ok"
                traffic.log("fired", message.canonical_name, message.id, outcome, seconds)
        if any(event.error is not None for event in sent):
            raise _not_all_fired(sent)
        return [event.message for event in sent]

    # Inside

    async def _fire(
        self,
        api_name: str,
        name: str,
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None,
        started: float,
    ) -> EventMessage:
        settings = self.settings(api_name)
        event = self._authoritative(api_name, name, settings).event(name)
        arguments = dump(event.bind(f"{api_name}.{name}", kwargs))
        timeout, message_id = _fire_options(options, settings.event_fire_timeout)
        message = EventMessage(api_name, name, arguments, event.version, message_id)
        hooks, outcome = self.hooks, "failed"
        try:
            if hooks.around_event_sent:
                with hooks.around(hooks.around_event_sent, client=self, event_message=message):
                    await self._publish(message, event, settings, timeout)
            else:
                await self._publish(message, event, settings, timeout)
            outcome = "ok"
        finally:
            if traffic.is_logged(traffic.DEBUG):
                seconds = time.perf_counter() - started
                traffic.log("fired", message.canonical_name, message.id, outcome, seconds)
        return message

    async def _publish(
        self, message: EventMessage, event: Event, settings: ApiSettings, timeout: float
    ) -> None:
        hooks = self.hooks
        if hooks.before_event_sent:
            await hooks.run(hooks.before_event_sent, client=self, event_message=message)
        if settings.validate.outgoing:
            validator = self.contracts.event(message.api_name, message.event_name)
            if validator is not None:
                validator.validate(message.kwargs)
        await self.transports().event(message.api_name).publish((message,), timeout, event.dedupe)
        if hooks.after_event_sent:
            after = hooks.after_event_sent
            await hooks.run_after("after_event_sent", after, client=self, event_message=message)

    def _authoritative(self, api_name: str, name: str, settings: ApiSettings) -> Definition:
        definition = self.registry.find(api_name)
        if settings.owner is not None and settings.owner != self.service_name:
            path = f"apis.{api_name}.owner"
            place = self.wiring.origin(path) or "the manifest"
            raise NotAuthoritative(
                f"{api_name}.{name} can't be fired here: {place} says by {path} that {settings.owner!r} owns "
                f"the API, and this is {self.service_name!r}"
            )
        if definition is None:
            raise NotAuthoritative(
                f"{api_name}.{name} can't be fired here, since this process does not define the API "
                f"{api_name!r}: before firing, import the module whose class has Meta.name = {api_name!r}, "
                f"such as `from bus import {api_name.rpartition('.')[2].title().replace('_', '')}Api`; "
                "only the service that owns an API fires its events"
            )
        self.contracts.set_local(definition)
        return definition

    async def _fire_many(
        self,
        wanted: Sequence[tuple[str, str, Mapping[str, Any]]],
        ids: Sequence[str | None],
        timeout: float | None,
        sent: list[Outgoing],
    ) -> None:
        """Check all, then send all; ``sent`` gets them when they are about to be sent."""
        index = 0
        made: list[tuple[EventMessage, Event, ApiSettings]] = []
        known: dict[tuple[str, str], tuple[Event, ApiSettings]] = {}
        around = Beside()
        try:
            for index, (api_name, name, kwargs) in enumerate(wanted):
                if (api_name, name) not in known:
                    settings = self.settings(api_name)
                    event = self._authoritative(api_name, name, settings).event(name)
                    known[api_name, name] = event, settings
                event, settings = known[api_name, name]
                arguments = dump(event.bind(f"{api_name}.{name}", kwargs))
                message = EventMessage(api_name, name, arguments, event.version, ids[index] or "")
                made.append((message, event, settings))
            hooks = self.hooks
            for message, _, _ in made if hooks.around_event_sent else ():
                around.enter(hooks.around(hooks.around_event_sent, client=self, event_message=message))
            ready: list[Outgoing] = []
            for index, (message, event, settings) in enumerate(made):  # noqa: B007 - told below
                ready.append(await self._make_ready(message, event, settings))
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
        for stored in ready if hooks.after_event_sent else ():
            if stored.error is None:
                after, message = hooks.after_event_sent, stored.message
                await hooks.run_after("after_event_sent", after, client=self, event_message=message)

    async def _make_ready(self, message: EventMessage, event: Event, settings: ApiSettings) -> Outgoing:
        hooks = self.hooks
        if hooks.before_event_sent:
            await hooks.run(hooks.before_event_sent, client=self, event_message=message)
        if settings.validate.outgoing:
            validator = self.contracts.event(message.api_name, message.event_name)
            if validator is not None:
                validator.validate(message.kwargs)
        transport = self.transports().event(message.api_name)
        return Outgoing(message, transport.encode(message), event.dedupe)

    async def _publish_many(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Send events over the transport of each, all at the same time."""
        groups: dict[EventTransport, list[Outgoing]] = {}
        for event in events:
            groups.setdefault(self.transports().event(event.message.api_name), []).append(event)
        await asyncio.gather(*(_publish(transport, group, timeout) for transport, group in groups.items()))


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
