"""Dead letters are found, replayed and dropped one by one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal

from lightbus.bus.client import BusClient
from lightbus.exceptions import TransportUnavailable
from lightbus.insight.audit import Actor, acting
from lightbus.insight.search import reached
from lightbus.transports.events import DeadLetter, EventTransport

from .filters import Filter


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


async def settle(
    client: BusClient,
    api_names: Sequence[str],
    letter: DeadLetter,
    verb: Literal["replay", "drop"],
    *,
    by: Actor,
) -> bool:
    """Replay or drop one letter that was read before; tell whether it was still there.

    Args:
        client: The bus.
        api_names: APIs whose brokers are asked.
        letter: The letter.
        verb: What to do.
        by: Whoever does it, for the audit.

    Raises:
        TransportUnavailable: The broker can't be reached.
    """
    async with acting(client, by, f"dlq.{verb}", letter.id, {"listener": letter.group}) as doing:
        doing.count = 0
        for broker in client.transports().brokers(api_names):
            if await (broker.replay(letter) if verb == "replay" else broker.drop(letter)):
                doing.did(letter.id)
                return True
    return False


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
