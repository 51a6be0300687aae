"""The promise that replicas have a write before its sender hears of it, kept by ``WAIT``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import hiredis

from lightbus.exceptions import TransportError

from .channel import Batch
from .connection import LinkBroken
from .deadlines import fail
from .refusals import ReplyError


@dataclass(frozen=True, slots=True)
class Promise:
    """So many replicas have a write before its sender hears of it.

    Args:
        replicas: How many.
        timeout: Seconds for which they are waited for.
    """

    replicas: int
    timeout: float

    @property
    def command(self) -> tuple[Any, ...]:
        """The command that waits for them."""
        return "WAIT", self.replicas, max(1, int(self.timeout * 1000))


class TooFewReplicas(TransportError):
    """A write is done, but too few replicas had it in time; printed, it says how many."""


class Replicas:
    """The replicas at the other end of one connection, as far as a promise is about them.

    ``WAIT`` is about the writes of its own connection, and holds up all that comes after it there. So at most
    one is under way: commands that are sent meanwhile are kept, and go out together once it has answered.
    Many writes share it, whichever of their senders gives up.

    Args:
        promise: The promise.
        address: The address of Redis, without secrets.
        deliver: Hands a reply to the sender of a batch.
        go_on: Is called when a ``WAIT`` has answered.
    """

    def __init__(
        self, promise: Promise, address: str, deliver: Callable[[Batch, Any], None], go_on: Callable[[], None]
    ) -> None:
        self._promise = promise
        self._address = address
        self._deliver = deliver
        self._go_on = go_on
        self._wait = hiredis.pack_command(promise.command)
        self._loop = asyncio.get_running_loop()
        #: Whether a WAIT is under way.
        self.is_asked = False

    def bind(self, batches: Iterable[Batch]) -> list[Batch]:
        """Return what is to be written: all batches from the first promised one on are one, with a WAIT.

        Those that were taken back are left out.
        """
        wanted = [batch for batch in batches if not batch.future.done()]
        first = next((i for i, batch in enumerate(wanted) if batch.is_promised), len(wanted))
        bound = wanted[first:]
        if not bound:
            return wanted
        self.is_asked = True
        whole: asyncio.Future[list[Any]] = self._loop.create_future()
        whole.add_done_callback(partial(self._hand_out, bound))
        packed = b"".join([*(batch.packed for batch in bound), self._wait])
        count = sum(batch.wanted for batch in bound) + 1
        return [*wanted[:first], Batch(whole, packed, count, single=False)]

    def _hand_out(self, bound: Iterable[Batch], whole: asyncio.Future[list[Any]]) -> None:
        """Give each sender its reply, or the reason why it has none."""
        self.is_asked = False
        error = whole.exception()
        if error is None:
            *all_replies, heard = whole.result()
            failure = self._failure(heard)
            replies = iter(all_replies)
            for batch in bound:
                reply = next(replies) if batch.single else list(islice(replies, batch.wanted))
                if failure is not None and batch.is_promised and not isinstance(reply, ReplyError):
                    fail(batch.future, failure)
                elif not batch.future.done():
                    self._deliver(batch, reply)
        else:
            for batch in bound:
                fail(batch.future, error)
        self._go_on()

    def _failure(self, heard: object) -> TransportError | None:
        """Return why an answer to WAIT keeps no promise; None if it does."""
        wanted, timeout = self._promise.replicas, self._promise.timeout
        if isinstance(heard, int):
            if heard >= wanted:
                return None
            return TooFewReplicas(f"{heard} of {wanted} replicas had it within {timeout:g} s")
        if isinstance(heard, ReplyError) and is_replica(heard):
            # The write may be gone with what it was a primary of; whoever is the primary now will tell.
            return LinkBroken(f"Redis at {self._address} has become a replica")
        return TooFewReplicas(f"Redis does not tell whether {wanted} replicas had it: {heard}")


def is_replica(refusal: ReplyError) -> bool:
    """Tell whether WAIT was refused since this server has become a replica."""
    return refusal.code == "UNBLOCKED" or "replica" in refusal.said
