"""The record of what people have done to the bus by commands and by the console.

A transport need not keep one.
"""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

logger = logging.getLogger(__name__)

#: About how many entries are kept: two of each act.
MOST_ENTRIES = 100_000
#: The most ids of one act that are kept, and the most letters of each text.
MOST_IDS = 50
_MOST_TEXT = 500
#: The most parts of a filter.
_MOST_CHOSEN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An act of somebody on the bus: one entry is written before it, and one with its outcome after it.

    Args:
        id: The id of the entry, by which further ones are asked for.
        act: The same for both entries of an act.
        at: When the entry was written, as a Unix time by the broker's clock.
        seconds: How long the act took; None while it goes on.
        user: Who it was.
        role: In which role, such as ``cli``.
        address: From where, as far as that is known.
        origin: By what it was done.
        action: What was done, such as ``dlq.replay``.
        target: To what, such as the group of a listener.
        chosen: By which filter, each part in words.
        count: To how many things; None if that is not known.
        ids: The first of their ids.
        reason: Why, in the words of whoever did it.
        outcome: How it ended; ``begun`` if nothing is known of its end.
        error: Why it did not end well.
    """

    id: str = ""
    act: str = ""
    at: float = 0.0
    seconds: float | None = None
    user: str = ""
    role: str = ""
    address: str = ""
    origin: Literal["cli", "console", "api"] = "api"
    action: str = ""
    target: str = ""
    chosen: Mapping[str, str] = field(default_factory=dict)
    count: int | None = None
    ids: tuple[str, ...] = ()
    reason: str = ""
    outcome: Literal["begun", "done", "refused", "failed", "stopped"] = "begun"
    error: str = ""


def write_act(act: Act) -> bytes:
    """Return the bytes of an entry; texts that are too long are cut."""
    texts = ("user", "role", "address", "action", "target", "reason", "error")
    cut = {name: getattr(act, name)[:_MOST_TEXT] for name in texts}
    chosen = {name: text[:_MOST_TEXT] for name, text in list(act.chosen.items())[:_MOST_CHOSEN]}
    ids = tuple(each[:_MOST_TEXT] for each in act.ids[:MOST_IDS])
    return msgspec.json.encode(replace(act, id="", at=0.0, ids=ids, chosen=chosen, **cut))


def read_act(blob: bytes, entry_id: str, at: float) -> Act:
    """Read an entry. One that can't be read counts all the same: whoever wrote it has done something.

    What a newer version says besides is left out.

    Args:
        blob: Its bytes.
        entry_id: The id that it got.
        at: When it was written.
    """
    try:
        return replace(msgspec.json.decode(blob, type=Act), id=entry_id, at=at)
    except (msgspec.DecodeError, RecursionError) as e:
        logger.debug("the entry %s of the audit can't be read: %s", entry_id, e)
        return Act(id=entry_id, act=entry_id, at=at, error="this entry of the audit can't be read")


class Audit(ABC):  # noqa: B024 - a transport need not keep one
    """The record of acts on the bus; part of the port for contracts."""

    async def note_act(self, act: Act) -> bool:
        """Keep an entry; tell whether this transport keeps any.

        Raises:
            TransportError: The broker refuses it.
            TransportUnavailable: The broker can't be reached.
        """
        return False

    async def past_acts(self, before: str = "", count: int = 1_000) -> Sequence[Act]:
        """Return entries, the newest first; raises as :meth:`note_act`.

        Args:
            before: Only those before the entry of this id.
            count: How many at most. Fewer come only where there are no more.
        """
        return ()

    async def acts_after(self, after: str, count: int = 1_000) -> Sequence[Act]:
        """Return entries, the oldest first; raises as :meth:`note_act`.

        Args:
            after: Only those after the entry of this id; empty for the first one.
            count: How many at most. Fewer come only where there are no more.
        """
        return ()
