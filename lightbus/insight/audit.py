"""The audit: acts of people on the bus are noted before and after they are done, and can be read again."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from lightbus.bus.client import BusClient
from lightbus.exceptions import (
    AuditRefused,
    GroupRefused,
    InvalidParameters,
    LightbusException,
    ScheduleRefused,
    TransportUnavailable,
)
from lightbus.transports.audit import MOST_IDS, Act
from lightbus.transports.schema import SchemaTransport

logger = logging.getLogger(__name__)

#: How many entries are read at a time.
_PAGE = 1_000
#: How many of those may lie between the two entries of one act.
_PAGES_OF_ONE = 10
#: Seconds that the broker has to keep an entry.
_PATIENCE = 5.0
#: Seconds after which an act is told by those who follow, though nothing is known of its end.
_UNENDED = 5.0
_REFUSED = (GroupRefused, ScheduleRefused)
_ID = re.compile(r"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody who does something to the bus.

    Args:
        user: Who it is.
        role: In which role.
        origin: By what it is done.
        address: From where.
        reason: Why, in their own words.
        tell: Called with a sentence if the act can't be noted, and it is done all the same. Left out, an act
            that can't be noted is not done.
    """

    user: str
    role: str = ""
    origin: Literal["cli", "console", "api"] = "api"
    address: str = ""
    reason: str = ""
    tell: Callable[[str], None] | None = None


@dataclass(slots=True)
class Doing:
    """An act that goes on.

    Args:
        count: To how many things it was done by now; None if that is not known.
        ids: The first of their ids.
        hides_errors: Whether an error may have anything in it, so that only its kind is noted.
    """

    count: int | None = None
    ids: tuple[str, ...] = ()
    hides_errors: bool = False

    def did(self, thing: str) -> None:
        """Take note of the id of one more thing to which it was done."""
        self.count = (self.count or 0) + 1
        if len(self.ids) < MOST_IDS:
            self.ids = (*self.ids, thing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Chooses acts: those that fit every condition; ``*`` stands for anything.

    Args:
        action: The action, or its first part, such as ``dlq`` for ``dlq.replay``.
        user: The user, with or without the host.
        since: The earliest time.
    """

    action: str = ""
    user: str = ""
    since: float | None = None

    def fits(self, act: Act) -> bool:
        """Tell whether an act is meant."""
        return (
            _is_like(act.action, self.action, ".")
            and _is_like(act.user, self.user, "@")
            and (self.since is None or act.at >= self.since)
        )


@asynccontextmanager
async def acting(
    client: BusClient,
    by: Actor | None,
    action: str,
    target: str,
    chosen: Mapping[str, str] | None = None,
) -> AsyncIterator[Doing]:
    """Note an act before it is done, and its outcome after it.

    Args:
        client: The bus.
        by: Whoever does it; nothing is noted if that is left out.
        action: What is done.
        target: To what. Never the arguments of a message: everybody who looks at the bus may read it.
        chosen: By which filter; likewise.

    Raises:
        AuditRefused: It can't be noted, and ``by`` does not say that it is to be done all the same.
    """
    doing = Doing()
    if by is None:
        yield doing
        return
    who = {name: getattr(by, name) for name in ("user", "role", "origin", "address", "reason")}
    act = Act(act=secrets.token_hex(8), action=action, target=target, chosen=chosen or {}, **who)
    trouble = await _note(client, act)
    is_noted = not trouble
    if trouble and by.tell is None:
        raise AuditRefused(f"{action} of {target} is not done, since it can't be noted: {trouble}")
    ended, began_at = replace(act, outcome="done"), time.monotonic()
    try:
        yield doing
    except BaseException as e:
        ended = _failed(act, e, is_hidden=doing.hides_errors)
        # Else the one reason would be told twice, and nothing was done.
        trouble = "" if isinstance(e, TransportUnavailable) else trouble
        raise
    finally:
        if is_noted:
            seconds = round(time.monotonic() - began_at, 3)
            trouble = await _note(client, replace(ended, seconds=seconds, count=doing.count, ids=doing.ids))
        if trouble:
            what = "is in the audit without its end" if is_noted else "is not in the audit"
            (by.tell or logger.warning)(f"{action} of {target} {what}: {trouble}")


async def acts(
    client: BusClient, wanted: Wanted | None = None, *, before: str = "", limit: int = 100
) -> list[Act]:
    """Return the acts that are meant, the newest first: one entry of each, the last that there is.

    Args:
        client: The bus.
        wanted: Chooses acts; all of them if left out.
        before: The id of the last act of the page before.
        limit: How many at most.

    Raises:
        InvalidParameters: ``before`` is no id.
        TransportError: The broker refuses it.
        TransportUnavailable: It can't be reached.
    """
    if before and not _ID.fullmatch(before):
        raise InvalidParameters(f"{before!r} is no id of an entry of the audit")
    schema, wanted = client.transports().schema(), wanted or Wanted()
    found: list[Act] = []
    ended: set[str] = set()
    place = before
    while True:
        page = await schema.past_acts(place, _PAGE)
        for entry in page:
            if wanted.since is not None and entry.at < wanted.since:
                return found
            if entry.outcome != "begun":
                ended.add(entry.act)
            elif entry.act in ended or (before and await _has_ended(schema, entry)):
                continue
            if wanted.fits(entry):
                found.append(entry)
            if len(found) >= limit:
                return found
        if len(page) < _PAGE:
            return found
        place = page[-1].id


async def follow(
    client: BusClient, wanted: Wanted | None = None, *, after: str = "", every: float = 1.0
) -> AsyncGenerator[Act, None]:
    """Go through the acts that are meant as they end, for ever; raises as :func:`acts`.

    Args:
        client: The bus.
        wanted: Chooses acts; all of them if left out.
        after: The id of the entry to begin after; left out, it begins with the oldest.
        every: Seconds between two looks.
    """
    schema, wanted = client.transports().schema(), wanted or Wanted()
    loop = asyncio.get_running_loop()
    begun: dict[str, tuple[Act, float]] = {}
    while True:
        page = await schema.acts_after(after, _PAGE)
        for entry in page:
            after = entry.id
            if entry.outcome == "begun":
                begun[entry.act] = entry, loop.time()
                continue
            begun.pop(entry.act, None)
            if wanted.fits(entry):
                yield entry
        for entry, since in list(begun.values()):
            if loop.time() - since >= _UNENDED:
                del begun[entry.act]
                if wanted.fits(entry):
                    yield entry
        if len(page) < _PAGE:
            await asyncio.sleep(every)


def details(act: Act) -> Iterator[str]:
    """Go through what else there is to say of an act, what went wrong first."""
    if act.error:
        yield act.error
    if act.reason:
        yield act.reason
    chosen = ", ".join(f"{name} {text}" for name, text in act.chosen.items())
    if chosen:
        yield chosen
    if act.origin != "cli":
        yield f"by the {act.origin}{f' as {act.role}' if act.role else ''}"
    if act.address:
        yield f"from {act.address}"


async def newest(client: BusClient) -> str:
    """Return the id of the newest entry, empty if there is none; raises as :func:`acts`."""
    return next((entry.id for entry in await client.transports().schema().past_acts(count=1)), "")


async def _note(client: BusClient, act: Act) -> str:
    """Keep an entry; return why that is not possible, empty if it was."""
    try:
        async with asyncio.timeout(_PATIENCE):
            is_kept = await client.transports().schema().note_act(act)
    except TimeoutError:
        return f"the broker of the contracts does not answer within {_PATIENCE:g} s"
    except LightbusException as e:
        return str(e)
    return "" if is_kept else "the transport of the contracts keeps no audit"


async def _has_ended(schema: SchemaTransport, begun: Act) -> bool:
    """Tell whether the end of an act is among the entries that come after its beginning."""
    after = begun.id
    for _ in range(_PAGES_OF_ONE):
        following = await schema.acts_after(after, _PAGE)
        if any(entry.act == begun.act for entry in following):
            return True
        if len(following) < _PAGE:
            return False
        after = following[-1].id
    return False


def _failed(act: Act, error: BaseException, *, is_hidden: bool) -> Act:
    """Return the entry of an act that an error has ended."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt):
        return replace(act, outcome="stopped")
    if is_hidden or not isinstance(error, LightbusException):
        # Its text may have anything in it.
        return replace(act, outcome="failed", error=type(error).__name__)
    return replace(act, outcome="refused" if isinstance(error, _REFUSED) else "failed", error=str(error))


def _is_like(name: str, pattern: str, ends: str) -> bool:
    return not pattern or any(fnmatchcase(each, pattern) for each in (name, name.partition(ends)[0]))
