"""Dead letters of the whole bus: found, replayed, dropped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from lightbus.bus.client import BusClient
from lightbus.exceptions import TransportUnavailable
from lightbus.transports.events import DeadLetter, EventTransport

from .audit import Actor, acting
from .search import reached


@dataclass(frozen=True)
class Filter:
    """Chooses dead letters: those that fit every condition.

    Args:
        ids: Ids of dead letters, or of their events.
        api: The name of the event's API.
        listener: The listener's name, or its group's: ``{service_name}-{listener_name}``.
        reason: Why they were put aside.
        older_than: The least seconds since then.
        newer_than: The most seconds since then.
        seen: None but these, each with its place.
        scan: Whether each broker is searched as a whole for them.
    """

    ids: tuple[str, ...] = ()
    api: str | None = None
    listener: str | None = None
    reason: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    seen: frozenset[tuple[str, str]] | None = None
    scan: bool = False

    def fits(self, letter: DeadLetter, now: float) -> bool:
        """Tell whether a letter is meant."""
        age = now - letter.died_at
        return (
            (not self.ids or letter.id in self.ids or letter.message.id in self.ids)
            and (self.api is None or letter.message.api_name == self.api)
            and (self.listener is None or f"-{letter.group}".endswith(f"-{self.listener}"))
            and (self.reason is None or letter.reason == self.reason)
            and (self.older_than is None or age >= self.older_than)
            and (self.newer_than is None or age <= self.newer_than)
            and (self.seen is None or (letter.place, letter.id) in self.seen)
        )

    def target(self) -> str:
        """Say in a word which they are: the id, the listener or the API."""
        return self.ids[0] if len(self.ids) == 1 else self.listener or self.api or "dead letters"

    def in_words(self) -> dict[str, str]:
        """Return the conditions that it has, as the options of a command have them."""
        words = {"ids": " ".join(self.ids), "api": self.api, "listener": self.listener, "reason": self.reason}
        ages = {"older_than": self.older_than, "newer_than": self.newer_than}
        words |= {name: None if age is None else f"{age:g}s" for name, age in ages.items()}
        return {name: text for name, text in words.items() if text}


async def find(
    client: BusClient, api_names: Sequence[str], chosen: Filter
) -> AsyncGenerator[DeadLetter, None]:
    """Go through the dead letters that are meant, the oldest of each listener first.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked, each broker once.
        chosen: Chooses the letters.

    Raises:
        TransportUnavailable: A broker can't be reached; what the others have came before.
    """
    async for _, letter in _meant(client, api_names, chosen):
        yield letter


def replay(
    client: BusClient, api_names: Sequence[str], chosen: Filter, *, by: Actor | None = None
) -> AsyncGenerator[DeadLetter, None]:
    """Hand those that are meant to their listener again, and to no other one; yields each that was.

    As for :func:`find`; each is replayed when it is asked for.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked, each broker once.
        chosen: Chooses the letters.
        by: Whoever does it, for the audit.
    """
    return _settled(client, api_names, chosen, by, "dlq.replay", lambda it, letter: it.replay(letter))


def drop(
    client: BusClient, api_names: Sequence[str], chosen: Filter, *, by: Actor | None = None
) -> AsyncGenerator[DeadLetter, None]:
    """Delete those that are meant for good; yields each that was.

    As for :func:`replay`; each is deleted when it is asked for.
    """
    return _settled(client, api_names, chosen, by, "dlq.drop", lambda it, letter: it.drop(letter))


async def _settled(
    client: BusClient,
    api_names: Sequence[str],
    chosen: Filter,
    by: Actor | None,
    action: str,
    settle: Callable[[EventTransport, DeadLetter], Awaitable[bool]],
) -> AsyncGenerator[DeadLetter, None]:
    """Do something to each that is meant, as it is asked for, and note it in the audit; yields each done."""
    async with acting(client, by, action, chosen.target(), chosen.in_words()) as doing:
        doing.count = 0
        async for transport, letter in _meant(client, api_names, chosen):
            if await settle(transport, letter):
                doing.did(letter.id)
                yield letter


async def _meant(
    client: BusClient, api_names: Sequence[str], chosen: Filter
) -> AsyncIterator[tuple[EventTransport, DeadLetter]]:
    """Go through what is meant, each with the transport that has it."""
    away: list[str] = []
    for transport in client.transports().brokers(api_names):
        try:
            if chosen.scan:
                await transport.find_streams()
            # By its broker's clock, to which the time of a letter's death belongs.
            now = await transport.now()
        except TransportUnavailable as e:
            away.append(str(e))
            continue
        async for letter in reached(transport.list_dead(), away):
            if chosen.fits(letter, now):
                yield transport, letter
    if away:
        raise TransportUnavailable("\n".join(away))
