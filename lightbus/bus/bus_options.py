"""Reads `bus_options` of calls and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from lightbus.exceptions import InvalidParameters
from lightbus.messages import MAX_ID, is_message_id
from lightbus.values import shown


class CallOptions(TypedDict, total=False):
    """The ``bus_options`` of a call; ``timeout``: seconds to wait."""

    timeout: float


class FireOptions(CallOptions, total=False):
    """The ``bus_options`` of an event; ``id``: its id, instead of a new one."""

    id: str


class FireManyOptions(CallOptions, total=False):
    """The ``bus_options`` of many events; ``ids``: the id of each, None for a new one."""

    ids: Sequence[str | None]


def options_given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of ``bus_options``, empty where none are given.

    Raises:
        InvalidParameters: They are no dict.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InvalidParameters(
            f"bus_options is {shown(options)}; give a dict, such as bus_options={{'timeout': 5}}"
        )
    return dict(options)


def fire_options(options: Mapping[str, Any] | None) -> tuple[float | None, str]:
    """Return the seconds to wait, None if they are not given, and the event's id, empty for a new one."""
    if options is None:
        return None, ""
    rest = options_given(options)
    message_id = _checked_id(rest.pop("id")) if "id" in rest else ""
    return (timeout_of(rest, 0.0, "timeout and id") if rest else None), message_id


def many_options(options: Mapping[str, Any] | None, count: int) -> tuple[float | None, Sequence[str]]:
    """Return the seconds to wait, None if not given, and the ids of the events, empty for new ones."""
    rest = options_given(options)
    ids = rest.pop("ids", None)
    ids = [None] * count if ids is None else list(ids)
    if len(ids) != count:
        raise InvalidParameters(
            f"bus_options: there are {len(ids)} ids for {count} events; give one for each"
        )
    ids = ["" if each is None else _checked_id(each) for each in ids]
    return (timeout_of(rest, 0.0, "timeout and ids") if rest else None), ids


def timeout_of(options: Mapping[str, Any] | None, default: float, known: str = "timeout") -> float:
    """Return the seconds to wait that ``bus_options`` give.

    Raises:
        InvalidParameters: They are no dict, there is another option, or the timeout is no number above zero.
    """
    options = options_given(options)
    if not options:
        return default
    unknown = [name for name in options if name != "timeout"]
    if unknown:
        raise InvalidParameters(f"bus_options has no option {unknown[0]!r}; it has {known}")
    timeout = options["timeout"]
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise InvalidParameters(f"bus_options: timeout is {timeout!r}; give seconds above zero")
    return float(timeout)


def _checked_id(message_id: object) -> str:
    if not isinstance(message_id, str) or not is_message_id(message_id):
        raise InvalidParameters(
            f"bus_options: id is {message_id!r:.80}; give a UUID, or up to {MAX_ID} printable characters"
        )
    return message_id
