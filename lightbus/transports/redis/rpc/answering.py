"""Answers on their way: those of one turn of the event loop go out together."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lightbus.runtime.retrying import backoff
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.deadlines import failure_of
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.options import RedisRpcOptions
from lightbus.transports.redis.scripts import ANSWER

logger = logging.getLogger(__name__)

#: The most answers, and about the most bytes, that one command carries: while more are made, Redis and their
#: caller are at work on these.
_AT_ONCE = 32
_BYTES_AT_ONCE = 1 << 18
#: The most times that answers are sent: for about as long as they are of use.
_ATTEMPTS = 20


@dataclass(slots=True, eq=False)
class _Group:
    """Answers to one caller, and the calls to be struck off.

    Args:
        key: The caller's list; None where nobody gets an answer.
    """

    key: str | None
    answers: list[bytes] = field(default_factory=list)
    #: The calls that are struck off the list of this process, and their ids, as far as they are known here.
    struck: list[bytes] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    size: int = 0
    failures: int = 0
    #: Whether the answers are sent, and only the striking is left.
    is_answered: bool = False


class Answering:
    """Pushes answers to their callers' lists, and strikes the calls off this process's.

    Args:
        calls: Leads to the Redis of the API.
        answers: Sends the answers: the same, or one to another Redis.
        mine: The list of the calls that this process has taken.
        options: The lifetime of answers, and the longest wait before they are sent again.
        api_name: The API, for the log.
        complain: Tells of an error that may come often.
        are_apart: Whether answers can't go out together with what strikes their calls off.
    """

    def __init__(
        self,
        calls: Channel,
        answers: Channel,
        mine: str,
        options: RedisRpcOptions,
        api_name: str,
        complain: Callable[[str, object], None],
        *,
        are_apart: bool,
    ) -> None:
        self._calls = calls
        self._answers = answers
        self._mine = mine
        self._seconds = max(1, math.ceil(options.result_ttl))
        self._longest = options.rpc_retry_delay
        self._api_name = api_name
        self._complain = complain
        self._are_apart = are_apart
        #: The calls that are taken and not struck off yet, by their ids, as they were pushed.
        self.taken: dict[str, bytes] = {}
        self._groups: dict[str | None, _Group] = {}
        self._loop = asyncio.get_running_loop()
        self._sending = 0
        self._all_sent: asyncio.Event | None = None

    def answer(self, key: str | None, answer: bytes, blob: bytes | None, call_id: str) -> None:
        """Send an answer by the end of this turn of the event loop, and strike its call off.

        Args:
            key: The caller's list; None if there is none.
            answer: The answer.
            blob: The call as it was pushed; None if it is in no list.
            call_id: Its id.
        """
        group = self._groups.get(key)
        # Else it has nothing to wait for.
        is_with_others = group is not None or len(self.taken) > 1
        if group is None:
            group = _Group(key)
            if is_with_others:
                if not self._groups:
                    self._loop.call_soon(self._flush)
                self._groups[key] = group
        if key is not None:
            group.answers.append(answer)
            group.size += len(answer)
        if blob is not None:
            group.struck.append(blob)
        group.ids.append(call_id)
        if not is_with_others:
            self._begin(group)
        elif len(group.ids) >= _AT_ONCE or group.size >= _BYTES_AT_ONCE:
            # The place of the group is taken by the next one, so that the end of the turn is noted once.
            self._groups[key] = _Group(key)
            self._begin(group)

    def strike(self, blob: bytes) -> None:
        """Strike off a call that is not answered."""
        self._begin(_Group(None, struck=[blob]))

    async def finish(self) -> None:
        """Wait until all is sent, or given up."""
        self._flush()
        if self._sending:
            self._all_sent = asyncio.Event()
            await self._all_sent.wait()

    def _flush(self) -> None:
        groups, self._groups = self._groups, {}
        for group in groups.values():
            if group.ids:
                self._begin(group)

    def _begin(self, group: _Group) -> None:
        self._sending += 1
        self._send(group)

    def _send(self, group: _Group, *, is_full: bool = False) -> None:
        """Send a group. Answers come first: if a link breaks then, a call is answered twice, not never."""
        push = [] if group.is_answered else self._push(group, is_full=is_full)
        # One after the other, if they are apart: an answer that is lost must not take the call along.
        is_last = not (push and self._are_apart)
        strike: list[tuple[Any, ...]] = []
        if is_last:
            strike = [("LREM", self._mine, 1, blob) for blob in group.struck]
        pipe = self._answers if push else self._calls
        if not push and not strike:
            self._note_end(group)
        elif pipe.is_closed:
            logger.error("gave up sending an answer of %s: the bus was closed", self._api_name)
            self._note_end(group)
        else:
            sent = pipe.send_many(push + strike)
            sent.add_done_callback(partial(self._note_sent, group, pipe, is_last))

    def _push(self, group: _Group, *, is_full: bool) -> list[tuple[Any, ...]]:
        key, seconds = group.key, self._seconds
        if key is None:
            return []
        if is_full:
            # A script, since Redis does that even where it is out of memory.
            return [ANSWER(replies=key, answer=each, seconds=seconds).by_text() for each in group.answers]
        return [("LPUSH", key, *group.answers), ("EXPIRE", key, seconds)]

    def _note_sent(
        self, group: _Group, pipe: Channel, is_last: bool, sent: asyncio.Future[list[Any]]
    ) -> None:
        error = failure_of(sent)
        if error is None or self._is_given_up(group, error, pipe):
            group.is_answered = True
            is_over = is_last or self._calls.is_closed
            if is_over or (error is not None and not _is_refused(error)):
                # Only now that they are struck off the list, in which a call not known here is an orphan.
                self._note_end(group)
            else:
                group.failures = 0
                self._send(group)
            return
        again = partial(self._send, group, is_full=isinstance(error, ReplyError) and error.code == "OOM")
        wait = backoff(group.failures, self._longest)
        group.failures += 1
        self._loop.call_later(wait, again)

    def _is_given_up(self, group: _Group, error: BaseException, pipe: Channel) -> bool:
        """Tell whether answers that could not be sent are not sent again, and say so."""
        if _is_refused(error):
            self._complain("an answer is not sent: its key is not a list: %s", error)
            return True
        if group.failures < _ATTEMPTS and not pipe.is_closed:
            return False
        logger.error("gave up sending an answer of %s: %s", self._api_name, error)
        return True

    def _note_end(self, group: _Group) -> None:
        """Note that nothing more is sent for these calls; closing waits for the last ones."""
        for call_id in group.ids:
            self.taken.pop(call_id, None)
        self._sending -= 1
        if self._all_sent is not None and not self._sending:
            self._all_sent.set()


def _is_refused(error: BaseException) -> bool:
    """Tell whether what stands at the key of a caller's list is none, so that no answer can be sent there."""
    return isinstance(error, ReplyError) and error.reaction is Reaction.GIVE_UP
