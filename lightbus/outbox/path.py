"""``outbox(bus).shop.placed.fire(...)``: a bus whose events are written into a database instead of sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

from lightbus.bus.bus_options import fire_options, many_options, options_given
from lightbus.bus.path import BusPath
from lightbus.exceptions import InvalidParameters, LightbusException
from lightbus.messages import EventMessage
from lightbus.runtime.portal import shorten

from .database import Store
from .rows import NewRow

Bus = TypeVar("Bus")


class OutboxPath(BusPath):
    """A name on the bus whose events are written into an outbox, within the transaction of its caller.

    Args:
        bus: The bus.
        store: Writes the events.
        key: Events of one key are fired in their order; empty for none.
        name: The name so far; empty for the bus itself.
    """

    def __init__(self, bus: BusPath, store: Store, key: str = "", name: str = "") -> None:
        super().__init__(bus.client, name)
        self._bus, self._store, self._key = bus, store, key

    def _below(self, name: str) -> OutboxPath:
        full = f"{self._name}.{name}" if self._name else name
        return OutboxPath(self._bus, self._store, self._key, full)

    def fire(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> EventMessage:
        """Write the event: it is fired once the transaction has committed.

        Args:
            args: None: arguments go by name.
            bus_options: ``id``: the event's id, instead of a new one; ``key``: its key.
            kwargs: The event's arguments.

        Returns:
            The event with its id.

        Raises:
            NotInTransaction: There is no transaction.
            OutboxTableMissing: The table of the outbox is not there.
            NotAuthoritative: This process does not own the API.
            ValidationError: An argument does not fit the contract.
        """
        made = self._one(args, kwargs, bus_options)
        self._store.insert(made[1])
        return self._written(made[0])[0]

    async def fire_async(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> EventMessage:
        """Write the event from a coroutine; see :meth:`fire`."""
        try:
            made = self._one(args, kwargs, bus_options)
            await self._store.insert_async(made[1])
        except LightbusException as e:
            shorten(e)
            raise
        return self._written(made[0])[0]

    def fire_many(
        self, events: Iterable[Mapping[str, Any]], *, bus_options: Mapping[str, Any] | None = None
    ) -> list[EventMessage]:
        """Write the event many times, by one INSERT; see :meth:`fire`.

        Args:
            events: The arguments of each.
            bus_options: ``ids``: the id of each event, None for a new one; ``keys``: the key of each.

        Returns:
            The events with their ids, in their order.
        """
        messages, rows = self._many(events, bus_options)
        if rows:
            self._store.insert(rows)
        return self._written(messages)

    async def fire_many_async(
        self, events: Iterable[Mapping[str, Any]], *, bus_options: Mapping[str, Any] | None = None
    ) -> list[EventMessage]:
        """Write the event many times from a coroutine; see :meth:`fire_many`."""
        messages, rows = self._many(events, bus_options)
        if rows:
            await self._store.insert_async(rows)
        return self._written(messages)

    def call(self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any) -> NoReturn:
        """Refuse: a call can't wait for a transaction."""
        raise InvalidParameters(
            f"an outbox only fires events; a call has its answer at once, by bus.{self._name}(...)"
        )

    __call__ = call

    async def call_async(
        self, /, *args: object, bus_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> NoReturn:
        """Refuse: a call can't wait for a transaction."""
        raise InvalidParameters(
            f"an outbox only fires events; a call has its answer at once, by bus.{self._name}.call_async(...)"
        )

    def _one(
        self, args: tuple[object, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any] | None
    ) -> tuple[list[EventMessage], list[NewRow]]:
        names = self._split(args)
        rest = options_given(options)
        key = rest.pop("key", self._key)
        _, message_id = fire_options(rest)
        return self._make(names, [kwargs], [message_id], [key])

    def _many(
        self, events: Iterable[Mapping[str, Any]], options: Mapping[str, Any] | None
    ) -> tuple[list[EventMessage], list[NewRow]]:
        names, wanted = self._split(()), list(events)
        rest = options_given(options)
        keys = rest.pop("keys", None)
        keys = [self._key] * len(wanted) if keys is None else list(keys)
        if len(keys) != len(wanted):
            raise InvalidParameters(
                f"bus_options: there are {len(keys)} keys for {len(wanted)} events; give one for each"
            )
        _, ids = many_options(rest, len(wanted))
        return self._make(names, wanted, ids, keys)

    def _make(
        self,
        names: tuple[str, str],
        events: Sequence[Mapping[str, Any]],
        ids: Sequence[str],
        keys: Sequence[str | None],
    ) -> tuple[list[EventMessage], list[NewRow]]:
        make, headers = self._client.firer.draft, _trace()
        messages, rows = [], []
        for kwargs, message_id, key in zip(events, ids, keys, strict=True):
            message = make(names, kwargs, message_id)
            message.headers = headers
            messages.append(message)
            rows.append(NewRow.of(message, _checked(key)))
        return messages, rows

    def _written(self, messages: list[EventMessage]) -> list[EventMessage]:
        note = self._client.parts.note_written
        for message in messages if note is not None else ():
            note(message)  # type: ignore[misc] # mypy forgets the condition of the line before
        return messages


def outbox_of(bus: Bus, store: Store, key: object) -> Bus:
    """Return a bus whose events go into an outbox: for type checkers, with the names that it had.

    Raises:
        InvalidParameters: It is no bus, or the key is no text.
    """
    if not isinstance(bus, BusPath):
        raise InvalidParameters(f"outbox() takes a bus, as lightbus.create() makes it, not {bus!r:.80}")
    if isinstance(bus, OutboxPath):
        bus = bus._bus  # type: ignore[assignment] # a bus is a bus
    return cast("Bus", OutboxPath(cast("BusPath", bus), store, _checked(key), cast("BusPath", bus)._name))


def _checked(key: object) -> str:
    if key is None:
        return ""
    if not isinstance(key, str):
        raise InvalidParameters(f"the key of an outbox is {key!r:.80}; give text, such as str(order.pk)")
    return key


def _trace() -> dict[str, str] | None:
    """Return the headers of the trace that goes on here; None where there is none."""
    # Whoever traces has imported it already.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return {"traceparent": headers["traceparent"]} if headers else None
