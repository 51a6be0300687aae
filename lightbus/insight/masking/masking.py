"""Hides what is sensitive in events, calls, results, and what tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightbus.messages import EventMessage
from lightbus.transports.events import DeadLetter

from .names import Listed, Path, deeper, looks_secret
from .schemas import Nodes, Schema, objects, of_field, of_item, of_names
from .texts import MASK, class_of, masked, without_secrets

#: A value is hidden that lies deeper.
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Masked:
    """What may be shown of a value.

    Args:
        value: The value, with :data:`MASK` in the place of each that is hidden.
        hidden: Those, as they are; for :meth:`text`, and never to be shown.
        shown: The names and texts that are shown.
    """

    value: Any
    hidden: tuple[Any, ...] = field(repr=False)
    shown: frozenset[str] = field(repr=False)

    def text(self, text: str) -> str:
        """Return what may be shown of an error or a traceback that the value may have caused."""
        return masked(text, self.hidden, self.shown)


class Masking:
    """Hides what is sensitive; made once, for all that is shown of a bus.

    Hidden is what a contract marks as ``Sensitive``, what has a name that looks like a secret, what a
    manifest lists in ``web.mask``, and what no contract has, since nobody has said that it may be shown.

    Args:
        globs: The values of ``web.mask``; see :class:`.names.Listed`.
        contracts: The contracts that are known, by API; :meth:`know` adds others.
    """

    def __init__(self, globs: Sequence[str] = (), contracts: Mapping[str, Any] | None = None) -> None:
        self._listed = Listed(globs)
        self._contracts: dict[str, Any] = {}
        self._schemas: dict[tuple[str, str, str], Schema | None] = {}
        self.know(contracts or {})

    def know(self, contracts: Mapping[str, Any]) -> None:
        """Know contracts as they are by now; those that are gone stay known.

        Args:
            contracts: Contracts by API, which must not be changed afterwards.
        """
        news = {api for api, contract in contracts.items() if self._contracts.get(api) != contract}
        if news:
            self._contracts |= {api: contracts[api] for api in news}
            self._schemas = {key: schema for key, schema in self._schemas.items() if key[1] not in news}

    def event(self, api_name: str, event_name: str, kwargs: Any) -> Masked:
        """Return what may be shown of the arguments of an event."""
        return self._masked("events", api_name, event_name, kwargs)

    def call(self, api_name: str, procedure_name: str, kwargs: Any) -> Masked:
        """Return what may be shown of the arguments of a call."""
        return self._masked("rpcs", api_name, procedure_name, kwargs)

    def result(self, api_name: str, procedure_name: str, result: Any) -> Masked:
        """Return what may be shown of the result of a call."""
        return self._masked("rpcs", api_name, procedure_name, result, "response")

    def message(self, message: EventMessage) -> EventMessage:
        """Return a copy of an event that may be shown."""
        kwargs = self.event(message.api_name, message.event_name, message.kwargs).value
        return _with(message, kwargs)

    def letter(self, letter: DeadLetter) -> DeadLetter:
        """Return a copy of a dead letter that may be shown, with its error and traceback."""
        message = letter.message
        if not message.api_name:
            # Nobody knows what is in it, so that all of the error's text may be of it.
            return replace(letter, message=_with(message, {}), error=class_of(letter.error), trace="")
        found = self.event(message.api_name, message.event_name, message.kwargs)
        return replace(
            letter,
            message=_with(message, found.value),
            error=found.text(letter.error),
            trace=found.text(letter.trace),
        )

    def text(self, text: str) -> str:
        """Return what may be shown of a text of which nobody knows what it tells of."""
        return without_secrets(text)

    def _masked(self, kind: str, api_name: str, name: str, value: Any, entry: str = "parameters") -> Masked:
        part = "kwargs" if entry == "parameters" else "result"
        walk = _Walk(self._listed, self._schema(kind, api_name, name, entry))
        nodes: Nodes = walk.schema.start if walk.schema is not None else ()
        shown = walk.value(value, nodes, self._listed.paths(f"{api_name}.{name}", part), 0)
        return Masked(shown, tuple(walk.hidden), frozenset(walk.shown))

    def _schema(self, kind: str, api_name: str, name: str, entry: str) -> Schema | None:
        key = (f"{kind}.{entry}", api_name, name)
        if key not in self._schemas:
            entries = (self._contracts.get(api_name) or {}).get(kind)
            found = entries.get(name) if isinstance(entries, Mapping) else None
            has_it = isinstance(found, Mapping) and entry in found
            self._schemas[key] = Schema(found[entry]) if found is not None and has_it else None
        return self._schemas[key]


class _Walk:
    """Goes through one value."""

    def __init__(self, listed: Listed, schema: Schema | None) -> None:
        self.schema = schema
        self.hidden: list[Any] = []
        self.shown: set[str] = set()
        self._listed = listed

    def value(self, value: Any, nodes: Nodes, paths: Sequence[Path], depth: int) -> Any:
        """Return what may be shown of a value; null tells nothing."""
        if value is None:
            return None
        if depth > _DEEPEST or not all(paths):
            return self._hide(value)
        known = self.schema.flat(nodes) if self.schema is not None else None
        if isinstance(value, dict):
            # Without a contract, the names of the arguments are shown all the same.
            if not (depth == 0 and self.schema is None) and not objects(known or ()):
                return self._hide(value)
            return dict(self._fields(value, known or [], paths, depth))
        if not known or self.schema is None:
            return self._hide(value)
        if isinstance(value, list):
            return [self.value(each, of_item(known, i), paths, depth + 1) for i, each in enumerate(value)]
        if self.schema.holds(known):
            # It is no object, as the contract has it: its secret may be anywhere in it.
            return self._hide(value)
        self.shown.add(str(value))
        return value

    def _fields(
        self, value: dict[str, Any], known: list[dict[str, Any]], paths: Sequence[Path], depth: int
    ) -> Iterator[tuple[str, Any]]:
        has_names = self.schema is None or self.schema.flat(of_names(known)) is not None
        for number, (name, each) in enumerate(value.items(), 1):
            if not has_names:
                self.hidden.append(name)
                yield f"{MASK} {number}", self._hide(each) if each is not None else None
                continue
            self.shown.add(name)
            if each is not None and (looks_secret(name) or self._listed.has_name(name)):
                yield name, self._hide(each)
            else:
                yield name, self.value(each, of_field(known, name), deeper(paths, name), depth + 1)

    def _hide(self, value: Any) -> str:
        self.hidden.append(value)
        return MASK


def _with(message: EventMessage, kwargs: dict[str, Any]) -> EventMessage:
    """Return a copy of an event with other arguments."""
    m = message
    return EventMessage(m.api_name, m.event_name, kwargs, m.version, m.id, m.native_id, m.headers)
