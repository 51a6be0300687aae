"""Looking for events on the bus, whether or not anything runs there."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from .bus_schema import BusSchema
from .client import BusClient
from .exceptions import InvalidParameters, LightbusException
from .messages import EventMessage
from .transports.history import as_they_come, matcher, newest_first

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
_STEP = re.compile(r"""\.?([A-Za-z_][\w-]*|\*)|\[(?:(-?\d+|\*)|'([^']*)'|"([^"]*)")\]""")
_ANY = object()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A condition on a number, such as ``<2`` or ``3``.

    Args:
        compare: Compares what is found with what is wanted.
        wanted: The number.
    """

    compare: Callable[[Any, Any], bool]
    wanted: int

    @classmethod
    def parse(cls, text: str) -> Comparison:
        """Read a condition.

        Raises:
            InvalidParameters: It is none.
        """
        found = _COMPARED.fullmatch(text) or _COMPARED.fullmatch(f"={text}")
        if found is None or not found[2].strip().isdecimal():
            raise InvalidParameters(f"{text!r} is no version; write 1, '<2', '<=2', '>2', '>=2' or '!=2'")
        return cls(_OPERATORS[found[1]], int(found[2]))

    def fits(self, found: int) -> bool:
        """Tell whether a number is meant."""
        return self.compare(found, self.wanted)


@dataclass(frozen=True, slots=True)
class ArgumentTest:
    """A condition on something within an event's arguments, such as ``address.city=London``.

    Args:
        steps: The way there: names and indices.
        compare: Compares what is found with what is wanted.
        text: What is wanted, as it was written.
        value: What it is as JSON; the text where it is none.
    """

    steps: tuple[Any, ...]
    compare: Callable[[Any, Any], bool]
    text: str
    value: Any

    @classmethod
    def parse(cls, text: str) -> ArgumentTest:
        """Read a condition: a path, a comparison, and a value that is JSON where it parses, else a string.

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
        try:
            value = json.loads(found[2])
        except (ValueError, RecursionError):
            value = found[2]
        return cls(tuple(steps), _OPERATORS[found[1]], found[2], value)

    def fits(self, kwargs: Mapping[str, Any]) -> bool:
        """Tell whether anything at that place is what is wanted."""
        return any(self._matches(found) for found in _walk(kwargs, self.steps))

    def _matches(self, found: Any) -> bool:
        if isinstance(found, str):
            # A string may be written with or without its quotes.
            return self.compare(found, self.value if isinstance(self.value, str) else self.text)
        if self.compare in (operator.eq, operator.ne):
            return self.compare((found, isinstance(found, bool)), (self.value, isinstance(self.value, bool)))
        are_numbers = all(type(each) in (int, float) for each in (found, self.value))
        return are_numbers and self.compare(found, self.value)


@dataclass(frozen=True, slots=True)
class Query:
    """Which events are looked for: those that fit everything that is said.

    Args:
        api: The API's name, in which ``*`` stands for anything.
        event: The event's name, likewise.
        id: The event's id.
        native_id: The broker's id of the event.
        version: The event's version.
        arguments: Conditions on the event's arguments.
        internal: Whether APIs that describe the bus itself are meant, too, where ``api`` does not name them.
        since: The Unix time of the oldest.
    """

    api: str = "*"
    event: str = "*"
    id: str | None = None
    native_id: str | None = None
    version: Comparison | None = None
    arguments: tuple[ArgumentTest, ...] = ()
    internal: bool = False
    since: float | None = None

    def test(self) -> Callable[[EventMessage], bool]:
        """Return what tells whether an event is meant."""
        api, event = matcher(self.api), matcher(self.event)
        internal = self.internal or self.api.startswith("internal.")

        def fits(message: EventMessage) -> bool:
            return (
                api.fullmatch(message.api_name) is not None
                and event.fullmatch(message.event_name) is not None
                and self.id in (None, message.id)
                and self.native_id in (None, message.native_id)
                and (self.version is None or self.version.fits(message.version))
                and (internal or not message.api_name.startswith("internal."))
                and all(test.fits(message.kwargs) for test in self.arguments)
            )

        return fits


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
        query: What is meant.
        follow: Whether to go through those that come from now on instead, or from ``query.since`` on.
        limit: How many are enough.

    Raises:
        TransportUnavailable: A broker can't be reached.
    """
    brokers = client.transports().brokers(api_names)
    names = (query.api, query.event)
    if follow:
        events = as_they_come([broker.follow(*names, since=query.since) for broker in brokers])
    else:
        options: dict[str, Any] = {"since": query.since, "native_id": query.native_id}
        events = newest_first([broker.history(*names, **options) for broker in brokers])
    if query.id is not None:
        limit = 1
    fits, count = query.test(), 0
    async with aclosing(cast(Any, events)) as found:
        async for message in found:
            if fits(message):
                yield message
                count += 1
                if count == limit:
                    return


def misfit(client: BusClient, message: EventMessage) -> str | None:
    """Return what is wrong with an event by its contract, which must be loaded; None if nothing is."""
    try:
        BusSchema(client).validate_parameters(message.api_name, message.event_name, message.kwargs)
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
