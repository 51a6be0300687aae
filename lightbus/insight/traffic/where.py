"""Where one event is: for each listener, whether it was read, handled or put aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lightbus.bus.client import BusClient
from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.insight.cards import paused_groups, read_cards
from lightbus.insight.verdicts import Verdict
from lightbus.messages import EventMessage
from lightbus.transports.cards import Card
from lightbus.transports.groups import Standing, State
from lightbus.values.wording import counted, duration

_VERDICTS = {
    "before": Verdict("before it"),
    "unread": Verdict("not read", 1),
    "held": Verdict("in work"),
    "waiting": Verdict("retrying", 1),
    "due": Verdict("retrying", 1),
    "dead": Verdict("dead", 2),
    "passed": Verdict("handled"),
    "unknown": Verdict("not known", 1),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event is for one listener.

    Args:
        at: What its group says.
        is_wanted: Whether a process that runs the listener asks for such events; None if no process tells.
        paused: Since when the listener is paused, by whom and until when, in words; empty if it is not.
    """

    at: Standing
    is_wanted: bool | None = None
    paused: str = ""

    @property
    def verdict(self) -> Verdict:
        """One word for it."""
        return Verdict("passed over") if self.is_passed_over else _VERDICTS[self.at.state]

    @property
    def is_passed_over(self) -> bool:
        """Whether the listener reads the stream, and does not ask for such an event."""
        return self.is_wanted is False and self.at.state in ("passed", "unread")

    def in_words(self, now: float) -> str:
        """Say where it is.

        Args:
            now: The time by the broker's clock.
        """
        said = _WORDS[self.at.state](self.at, now)
        if self.is_passed_over:
            said = "the listener does not ask for such events"
        return f"{said}; {self.paused}" if self.paused and self.at.state != "passed" else said


async def where(
    client: BusClient,
    api_names: Iterable[str],
    message: EventMessage,
    cards: Sequence[Card] | None = None,
) -> list[Place]:
    """Tell where an event is.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked.
        message: The event, with its ``native_id``.
        cards: The cards of processes, where they were read a moment ago; else they are read.

    Returns:
        A place for each group that reads its stream, by its name; none where the transport can't tell.

    Raises:
        TransportUnavailable: A broker can't be reached.
    """
    names = dict.fromkeys((message.api_name, *api_names))
    brokers = client.transports().brokers(list(names))
    found = [each for broker in brokers for each in await broker.standings(message)]
    paused, cards = await _about(client, [each.group for each in found], cards)
    return [Place(each, _is_wanted(each, message, cards), paused.get(each.group, "")) for each in found]


async def _about(
    client: BusClient, groups: Sequence[str], cards: Sequence[Card] | None
) -> tuple[dict[str, str], Sequence[Card]]:
    """Return which groups are paused, in words, and the cards; nothing where this user may not read them."""
    try:
        pauses = await paused_groups(client, groups)
        known = cards if cards is not None else await read_cards(client)
        return {group: pause.in_words() for group, pause in pauses.items()}, known
    except TransportUnavailable:
        raise
    except TransportError:
        return {}, []


def _is_wanted(at: Standing, message: EventMessage, cards: Iterable[Card]) -> bool | None:
    asked = {event for card in cards for it in card.listeners if it.group == at.group for event in it.events}
    if not asked:
        return None
    return not asked.isdisjoint({message.canonical_name, f"{message.api_name}.*"})


def _held(at: Standing, now: float) -> str:
    heard = f", which was heard of {duration(at.idle)} ago" if at.idle is not None and at.idle >= 1 else ""
    return f"held by {at.process}{heard}; attempt {at.attempts}"


def _waiting(at: Standing, now: float) -> str:
    if at.due is None:
        return f"waits for its next attempt, after {counted(at.attempts, 'attempt')}"
    when = datetime.fromtimestamp(at.due, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    left = at.due - now
    soon = f"in {duration(left)}" if left >= 1 else "now"
    return f"tried again {soon}, at {when}, after {counted(at.attempts, 'attempt')}"


def _due(at: Standing, now: float) -> str:
    after = f", after {counted(at.attempts, 'attempt')}" if at.attempts else ""
    return f"waits for a process to take it again{after}"


def _dead(at: Standing, now: float) -> str:
    why = f" ({at.reason})" if at.reason else ""
    return f"put aside after {counted(at.attempts, 'attempt')}{why}; lightbus dlq has it as {at.letter}"


_WORDS: Mapping[State, Callable[[Standing, float], str]] = {
    "before": lambda at, now: "fired before the listener began",
    "unread": lambda at, now: "not read yet",
    "held": _held,
    "waiting": _waiting,
    "due": _due,
    "dead": _dead,
    "passed": lambda at, now: "handled",
    "unknown": lambda at, now: (
        "handled, or put aside a long time ago: there are too many dead letters to look"
    ),
}
