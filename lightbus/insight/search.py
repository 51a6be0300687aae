"""Looking for events on the bus, whether or not anything runs there."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from lightbus.bus.client import BusClient
from lightbus.bus.schema import BusSchema
from lightbus.exceptions import InvalidParameters, LightbusException, SchemaNotFound, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.options import parse_duration
from lightbus.transports.events import EventTransport
from lightbus.transports.merging import as_they_come, matcher, newest_first

T = TypeVar("T")

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARED = re.compile(f"({'|'.join(_OPERATORS)})(.*)", re.DOTALL)
_STEP = re.compile(r"""\.?([A-Za-z_][\w-]*|\*)|\[(?:(-?\d{1,18}|\*)|'([^']*)'|"([^"]*)")\]""")
#: Python reads no number of thousands of digits.
_NUMBER = re.compile(r"\d{1,18}")
_ANY = object()


def comparison(text: str) -> Callable[[int], bool]:
    """Read a condition on a number, such as ``<2`` or ``3``; returns what tells whether one is meant.

    Raises:
        InvalidParameters: It is none.
    """
    found = _COMPARED.fullmatch(text) or _COMPARED.fullmatch(f"={text}")
    if found is None or not _NUMBER.fullmatch(found[2].strip()):
        raise InvalidParameters(f"{text!r} is no version; write 1, '<2', '<=2', '>2', '>=2' or '!=2'")
    compare, wanted = _OPERATORS[found[1]], int(found[2])
    return lambda number: compare(number, wanted)


def argument_test(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Read a condition on something within an event's arguments, such as ``address.city=London``.

    Args:
        text: A path, a comparison, and a value that is JSON where it parses, else a string.

    Returns:
        A function that tells whether arguments have a wanted value at that place.

    Raises:
        InvalidParameters: It is none.
    """
    position, steps = len(text) - len(text.removeprefix("$")), []
    while step := _STEP.match(text, position):
        name, index, *quoted = step.groups()
        if "*" in (name, index):
            steps.append(_ANY)
        else:
            steps.append(int(index) if index else next(n for n in (name, *quoted) if n is not None))
        position = step.end()
    found = _COMPARED.fullmatch(text, position)
    if found is None or not steps:
        raise InvalidParameters(
            f"{text!r} is no search; write PATH=VALUE, such as address.city=London, $.items[0].sku=7 or "
            "'items[*].price>=10'; a path has names, [indices] and * only"
        )
    compare, written = _OPERATORS[found[1]], found[2]
    try:
        wanted = json.loads(written)
    except (ValueError, RecursionError):
        wanted = written

    def matches(value: Any) -> bool:
        if isinstance(value, str):
            # A string may be written with or without its quotes.
            return compare(value, wanted if isinstance(wanted, str) else written)
        if compare in (operator.eq, operator.ne):
            return compare(_told_apart(value), _told_apart(wanted))
        are_numbers = all(type(each) in (int, float) for each in (value, wanted))
        return are_numbers and compare(value, wanted)

    return lambda kwargs: any(map(matches, _walk(kwargs, tuple(steps))))


def _told_apart(value: Any) -> tuple[Any, type | None]:
    """Return a JSON value as what is equal to the same value alone: True is no 1, and NaN is itself."""
    if isinstance(value, float) and value != value:
        return None, float
    return value, bool if isinstance(value, bool) else None


def moment(text: str) -> tuple[float | None, float | None]:
    """Read a time, or how long ago it was, such as ``2h``; returns ``since`` and ``ago`` of a :class:`Query`.

    Raises:
        InvalidParameters: It is none.
    """
    try:
        return None, parse_duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp(), None
    except (ValueError, OverflowError, OSError):
        raise InvalidParameters(f"{text!r} is no time; write 30s, 2h, 7d or 2026-01-31T12:00:00") from None


@dataclass(frozen=True, slots=True)
class Query:
    """Chooses events: those that fit every condition.

    Args:
        api: The API's name, in which ``*`` stands for anything.
        event: The event's name, likewise.
        id: The event's id.
        native_id: The broker's id of the event.
        version: Tells which versions of the event.
        arguments: Conditions on the event's arguments.
        internal: Whether APIs that describe the bus itself are meant, too, where neither ``api`` nor an
            id names them.
        since: The Unix time of the oldest.
        ago: How many seconds ago that is by the broker's clock, instead.
    """

    api: str = "*"
    event: str = "*"
    id: str | None = None
    native_id: str | None = None
    version: Callable[[int], bool] | None = None
    arguments: tuple[Callable[[Mapping[str, Any]], bool], ...] = ()
    internal: bool = False
    since: float | None = None
    ago: float | None = None

    def test(self) -> Callable[[EventMessage], bool]:
        """Return what tells whether an event is meant."""
        is_named = self.test_of_names()
        return lambda message: is_named(message) and self.has_arguments(message)

    def test_of_names(self) -> Callable[[EventMessage], bool]:
        """Return what tells whether an event is meant by all but its arguments."""
        api, event = matcher(self.api), matcher(self.event)
        is_named = self.api.startswith("internal") or (self.id, self.native_id) != (None, None)
        internal = self.internal or is_named

        def fits(message: EventMessage) -> bool:
            return (
                self.id in (None, message.id)
                and api.fullmatch(message.api_name) is not None
                and event.fullmatch(message.event_name) is not None
                and self.native_id in (None, message.native_id)
                and (self.version is None or self.version(message.version))
                and (internal or not message.api_name.startswith("internal."))
            )

        return fits

    def has_arguments(self, message: EventMessage) -> bool:
        """Tell whether an event is meant by its arguments."""
        return all(each(message.kwargs) for each in self.arguments)


async def search(
    client: BusClient,
    api_names: Sequence[str],
    query: Query,
    *,
    follow: bool = False,
    limit: int | None = None,
) -> AsyncIterator[EventMessage]:
    """Go through the events that are meant, the newest first; nothing that listens notices.

    Args:
        client: The bus.
        api_names: APIs whose brokers are searched.
        query: Chooses the events.
        follow: Whether to begin with the oldest and go on with those that come; ``query.since`` has the
            oldest that is wanted.
        limit: How many are enough.

    Raises:
        TransportUnavailable: A broker can't be reached; what the others have came before.
    """
    brokers = client.transports().brokers(api_names)
    away: list[str] = []
    if follow:
        times = [await since_of(broker, query) or 0.0 for broker in brokers]
        names = (query.api, query.event)
        events = as_they_come(
            [b.follow(*names, since=since) for b, since in zip(brokers, times, strict=True)]
        )
    else:
        events = newest_first([reached(_past(broker, query), away) for broker in brokers])
    if query.id is not None:
        limit = 1
    fits, count = query.test(), 0
    async with aclosing(cast(Any, events)) as found:
        async for message in found:
            if fits(message):
                yield message
                count += 1
                if count == limit:
                    break
    if away:
        raise TransportUnavailable("\n".join(away))


async def _past(broker: EventTransport, query: Query) -> AsyncIterator[EventMessage]:
    since = await since_of(broker, query)
    async for message in broker.history(query.api, query.event, since=since, native_id=query.native_id):
        yield message


async def since_of(broker: EventTransport, query: Query) -> float | None:
    """Return the time of the oldest event that is meant, by the broker's clock, from which theirs are."""
    return query.since if query.ago is None else await broker.now() - query.ago


async def reached(source: AsyncIterator[T], away: list[str]) -> AsyncIterator[T]:
    """Go through what a broker has; where it can't be reached, add the reason to ``away`` and end."""
    try:
        async for each in source:
            yield each
    except TransportUnavailable as e:
        away.append(str(e))


def fields_of(message: EventMessage) -> dict[str, Any]:
    """Return an event as ``lightbus inspect`` prints it."""
    names = ("id", "native_id", "api_name", "event_name", "version", "kwargs")
    return {name: getattr(message, name) for name in names}


def misfit(client: BusClient, message: EventMessage) -> str | None:
    """Return what is wrong with an event by its contract, which must be loaded; None if nothing is."""
    try:
        BusSchema(client.parts).validate_parameters(message.api_name, message.event_name, message.kwargs)
    except SchemaNotFound:
        return (
            f"no contract of the API {message.api_name!r} is on the bus; start the service that owns it, or "
            "add --show-casting where the project's bus module defines it"
        )
    except LightbusException as e:
        return str(e)
    return None


def castings(client: BusClient, message: EventMessage) -> dict[str, dict[str, str] | str]:
    """Return what each listener of this process would get of an event.

    Returns:
        By listener: the Python text of each argument, or the error where its hints don't take the event.
    """
    name = (message.api_name, message.event_name)
    found: dict[str, dict[str, str] | str] = {}
    for listener in client.listeners.values():
        if name not in listener.events and (message.api_name, "*") not in listener.events:
            continue
        try:
            arguments = listener.caster()(message.kwargs)
            found[listener.name] = {name: repr(value) for name, value in arguments.items()}
        except LightbusException as e:
            found[listener.name] = str(e)
    return found


def _walk(value: Any, steps: tuple[Any, ...]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step = steps[0]
    children: list[Any] = []
    if step is _ANY and isinstance(value, dict):
        children = list(value.values())
    elif step is _ANY and isinstance(value, list):
        children = value
    elif _leads(value, step):
        children = [value[step]]
    for child in children:
        yield from _walk(child, steps[1:])


def _leads(value: Any, step: Any) -> bool:
    """Tell whether a value has something of that name or at that index."""
    if isinstance(value, list):
        return isinstance(step, int) and -len(value) <= step < len(value)
    return isinstance(value, dict) and step in value
