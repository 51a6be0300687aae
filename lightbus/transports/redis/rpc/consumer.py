"""The worker's side of calls: taken into a list of its own, answered, and struck off that list."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from lightbus.declared.metrics import Metrics
from lightbus.declared.settings import Identity
from lightbus.exceptions import InvalidMessage
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.runtime.complaints import Complaints
from lightbus.runtime.retrying import Retrying
from lightbus.transports.redis.codec import decode_sender, names_reply_list, return_key
from lightbus.transports.redis.custom_codec import RpcCodec
from lightbus.transports.redis.keys import expiry_prefix, queue_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, WAKE_AGAIN, ignore_outcome
from lightbus.transports.redis.link.permissions import LACKING, Permissions
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.link.session import Session
from lightbus.transports.redis.options import RedisRpcOptions
from lightbus.transports.redis.scripts import BEGIN, RELEASE, TAKE, Run
from lightbus.transports.rpc import RpcConsumer, loss_of

from .answering import Answering
from .heartbeat import Heartbeat
from .intake import RungIntake
from .presence import Presence

logger = logging.getLogger(__name__)

#: The most calls that are fetched at once, since a script can't pass on more.
_TAKEN_AT_ONCE = 1_000
#: After two calls that came alone, others are looked for with each fourth only: to look in vain costs Redis
#: about as much as all else of a call. In a burst, those behind the first wait for three more reads at most.
_ALONE, _LOOK_EACH = 2, 4


class RedisRpcConsumer(RpcConsumer):
    """Serves one API for one process.

    Args:
        session: The Redis of the API.
        answers: Sends the answers: the session's own pipe, or one to another Redis.
        options: The lifetime of answers, among others.
        codec: Reads calls and writes answers.
        api_name: The API.
        identity: The process that serves it.
        metrics: Its counters.
        heartbeat: Shows that this process serves the API.
    """

    def __init__(
        self,
        session: Session,
        answers: Channel,
        options: RedisRpcOptions,
        codec: RpcCodec,
        api_name: str,
        identity: Identity,
        metrics: Metrics,
        heartbeat: Heartbeat,
    ) -> None:
        self._metrics = metrics
        self._complaints = Complaints(logger)
        self._queue = queue_key(api_name)
        self._pipe, self._session = session.pipe, session
        self._is_cluster = session.is_cluster
        self._expiry = expiry_prefix(api_name, is_cluster=session.is_cluster)
        self._options = options
        self._codec = codec
        self._api_name = api_name
        self._heartbeat = heartbeat
        self.block = BLOCK
        self.presence = Presence(session.pipe, api_name, identity.process_name)
        self._mine = mine = self.presence.taken
        self._link = session.link(self._queue)
        #: Brings calls by a bell; None if the connection waits for them.
        self._rung: RungIntake | None = None
        #: The script that takes so many calls; made once for each number.
        self._take = cache(self._take_anew)
        self._taking_command = cache(lambda most: self._take(most).by_name())
        self._alone = 0  # So many calls have come alone since one came with others.
        self._is_full = False  # Whether Redis, out of memory, moves calls by the script alone.
        self._answering = Answering(
            session.pipe, answers, mine, options, api_name, partial(self._complaints.tell, self._queue),
            # To another Redis, or to another node of a cluster.
            are_apart=answers is not session.pipe or session.is_cluster,
        )  # fmt: skip
        self._taken = self._answering.taken
        self._stopping = self._may_hold_orphans = self._has_left = False
        what, longest = f"taking calls of {api_name}", options.consumption_restart_delay
        self._taking = Retrying(logger, what, longest=longest)
        self._recovering = asyncio.Lock()
        #: The permissions of this user, at the Redis of calls and at that of answers.
        self.barred_by: Sequence[Permissions] = ()
        self._purposes = frozenset((f"serve {api_name}", f"answer calls of {api_name}"))

    @property
    def is_barred(self) -> bool:
        """Whether a call that is taken could not be finished, for want of a permission."""
        return any(not self._purposes.isdisjoint(permissions.barred) for permissions in self.barred_by)

    async def join(self) -> None:
        """Show that this process serves the API, and go on showing it."""
        bells = await self._session.bells_for(self, [self._queue])
        if bells is not None:
            self._rung = RungIntake(self._pipe, bells, self._queue, self._take)
        try:
            if not self.is_barred:  # Callers had better be told at once that nobody serves the API.
                await self.presence.show()
        except FAILURES as e:
            logger.warning("signing on to %s: %s; trying again", self._queue, e)
        self._heartbeat.add(self)

    async def take(self, limit: int) -> Sequence[RpcMessage]:
        """Move calls to this process's list: wait for one, and fetch others with the same write."""
        if self._rung is not None and not self._stopping:
            await self._rung.ready()
        if self._stopping:
            return ()
        if self.is_barred:
            self.trouble = LACKING
            await asyncio.sleep(BLOCK / 4)
            return ()
        try:
            # No take is under way now, so each call in the list that is not known here is an orphan.
            if self._may_hold_orphans:
                await self._recover_own()
            if self._link.client_id is None and self._rung is None:
                # So that it can be woken from the first take on.
                await self._link.exchange([("PING",)], self.block + 2)
                if self._stopping:
                    return ()
            most = min(limit, self._options.batch_size, _TAKEN_AT_ONCE)
            replies = await (self._fetch(most) if self._rung is None else self._rung.fetch(most))
        except (*FAILURES, asyncio.CancelledError) as e:
            # A call may have been moved to this process's list by a command whose reply is lost.
            self._suspect_orphans()
            if isinstance(e, asyncio.CancelledError):
                raise
            await self._pause(e)
            return ()
        self.trouble = ""
        found = [blob for reply in replies for blob in (reply if isinstance(reply, list) else (reply,))]
        # Besides calls, there may be refusals, and the number of those that are left to others.
        blobs = [blob for blob in found if isinstance(blob, bytes)]
        for refusal in replies:
            if isinstance(refusal, ReplyError):
                await self._after_refusal(refusal, may_pause=not blobs)
        return await self._claim(blobs) if blobs else ()

    async def _fetch(self, most: int) -> Sequence[Any]:
        """Move calls by two commands: the first waits for one, the second looks for those that came with it.

        Redis itself moves them: each is in one of the lists at any time, and is found if this process dies.
        """
        commands: list[tuple[Any, ...]] = []
        if not self._is_full:
            commands.append(("BLMOVE", self._queue, self._mine, "LEFT", "RIGHT", self.block))
            most -= 1
        if most > 0 and (self._is_full or self._alone < _ALONE or self._alone % _LOOK_EACH == 0):
            commands.append(self._taking_command(most))
        replies = await self._link.exchange(commands, self.block + 2)
        if isinstance(replies[-1], list) and replies[-1]:
            self._alone = 0
        elif isinstance(replies[0], bytes):
            self._alone += 1
        has_come = any(isinstance(reply, bytes) or (isinstance(reply, list) and reply) for reply in replies)
        is_full = any(isinstance(reply, ReplyError) and reply.code == "OOM" for reply in replies)
        self._is_full = (self._is_full and has_come) or is_full
        return replies

    def _take_anew(self, most: int) -> Run:
        register = self.presence.register
        return TAKE(queue=self._queue, mine=self._mine, register=register, most=most)

    def answer(self, call: RpcMessage, result: ResultMessage) -> None:
        """Push the result to the caller's list and strike the call off this process's."""
        self._answer(call, result, self._taken.get(call.id))

    def _answer(self, call: RpcMessage, result: ResultMessage, blob: bytes | None) -> None:
        key = return_key(call.return_path)
        if key is None:
            logger.warning(
                "%s (call %s) can't be answered: its return path is not one that a caller makes",
                call.canonical_name,
                call.id,
                extra={"message_id": call.id},
            )
        self._answering.answer(key, b"" if key is None else self._encode(call, result), blob, call.id)

    async def stop(self) -> None:
        """End a waiting take at once; its connection stays usable, so that nothing is lost on the way."""
        self._stopping = True
        self._wake()
        # Once more, since the first one may overtake a take that is just on its way to Redis.
        asyncio.get_running_loop().call_later(WAKE_AGAIN, self._wake)

    def _wake(self) -> None:
        self._pipe.unblock(self._link)
        if self._rung is not None:
            self._rung.wake()

    async def close(self) -> None:
        """Send the last answers, settle what is left behind, and disappear from the register."""
        self._stopping = True
        self._has_left = True
        await self._link.close()
        if self._rung is not None:
            self._rung.close()
        if self._pipe.is_closed:
            await self._heartbeat.remove(self)
            return
        try:
            async with asyncio.timeout(5):
                # Nothing shows this process again once it has left.
                await self._heartbeat.remove(self)
                await self._answering.finish()
                # Nobody looks for the list of a process that is not in the register.
                self._taken.clear()
                await self._recover_own()
                await self._answering.finish()
                # Last: it stays in the register as long as its list may hold something.
                await self.presence.leave()
        except (TimeoutError, *FAILURES) as e:
            logger.warning("could not sign off from %s: %s", self._queue, str(e) or "no answer in time")

    def _encode(self, call: RpcMessage, result: ResultMessage) -> bytes:
        try:
            return self._codec.encode_result(result)
        except InvalidMessage as e:
            what = "%s (call %s) is answered with an error: %s"
            logger.error(what, call.canonical_name, call.id, e, extra={"message_id": call.id})
            return self._codec.encode_result(ResultMessage(repr(e), call.id, error=True))

    async def _claim(self, blobs: Sequence[bytes]) -> list[RpcMessage]:
        """Decode calls and keep those whose expiry key was still there to be removed."""
        calls = []
        for blob in blobs:
            try:
                call = self._codec.decode_call(blob)
                if call.api_name != self._api_name:
                    raise InvalidMessage(f"not a call of the API {self._api_name!r}")
            except InvalidMessage as e:
                self._refuse(blob, e)
                continue
            calls.append((call, blob))
        if not calls:
            return []
        try:
            replies = await self._remove_keys([self._expiry + call.id for call, _ in calls])
        except FAILURES as e:
            # The keys may be removed or not: the calls are looked at again, as orphans.
            self._suspect_orphans()
            await self._pause(e)
            return []
        if self._taking.failures:
            self._taking.clear()
        ours = []
        for (call, blob), left, reply in zip(calls, replies[::2], replies[1::2], strict=True):
            if isinstance(reply, bytes):
                self._taken[call.id] = blob
                _note_deadline(call, left, reply)
                ours.append(call)
            elif isinstance(reply, ReplyError):
                if reply.reaction is Reaction.GIVE_UP:
                    self._refuse(blob, InvalidMessage("what stands at its expiry key is none"))
                else:
                    self._suspect_orphans()
            else:
                extra = {"message_id": call.id}
                logger.debug("%s (call %s) had expired", call.canonical_name, call.id, extra=extra)
                self._answering.strike(blob)
        return ours

    async def _remove_keys(self, keys: Sequence[str]) -> list[Any]:
        """Remove expiry keys, which is the right to run their calls.

        Returns:
            For each, in turn, the milliseconds that it had left and its value.
        """
        replies: list[Any] = []
        left = keys
        if len(keys) > 1 and not self._is_cluster:  # While a slot moves, they may lie on two nodes.
            try:
                replies = await self._pipe.run(BEGIN(expiries=keys))
                left = [key for key, value in zip(keys, replies[1::2], strict=True) if value == 0]
            except ReplyError as e:
                # Nothing is removed yet. The commands themselves say what is wrong with which call.
                logger.debug("taking the right to run calls of %s: %s", self._api_name, e)
        if left:
            # The time comes first, since it goes with the key.
            single = await self._pipe.send_many([(what, key) for key in left for what in ("PTTL", "GETDEL")])
            if not replies:
                return single
            for key, removed in zip(left, zip(single[::2], single[1::2], strict=True), strict=True):
                place = 2 * keys.index(key)
                replies[place : place + 2] = removed
        return replies

    def _refuse(self, blob: bytes, error: InvalidMessage) -> None:
        """Drop a message that is no call of this API, and tell its sender if there is one."""
        self._complaints.tell(self._queue, "a message in %s is dropped: %s", self._queue, error)
        self._metrics.messages_refused.add(self._queue)
        call = decode_sender(blob)
        if call is None:
            self._answering.strike(blob)
        else:
            self._answer(call, ResultMessage(repr(error), call.id, error=True), blob)

    async def _after_refusal(self, error: ReplyError, *, may_pause: bool) -> None:
        """Load the script where the server does not know it; wait a little after anything else."""
        if error.reaction is Reaction.SEND_SCRIPT:
            self._pipe.send_to_all("SCRIPT", "LOAD", TAKE.text).add_done_callback(ignore_outcome)
        elif error.reaction is not Reaction.IGNORE and may_pause:
            await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        self.trouble = str(error)
        wait = self._taking.failed(error)
        if not self._stopping:
            await asyncio.sleep(wait)

    def doubt(self) -> None:
        """Find out whether the connection that waits for calls is dead: the shared one is."""
        self._link.abort()

    async def recover(self, members: Sequence[str]) -> None:
        """Give back, or settle, the calls of processes that show no sign of life."""
        try:
            # The calls pass through this process's list: without the lock, they would be orphans.
            async with self._recovering:
                for member in members:
                    if self._has_left:
                        return
                    blobs = await self.presence.take_over(member)
                    if blobs:
                        logger.warning("%s died with %d calls of %s", member, len(blobs), self._api_name)
                    for blob in blobs:
                        await self._settle(blob)
        except (*FAILURES, asyncio.CancelledError) as e:
            # Calls of another process may have come into this one's list by a script whose reply is lost.
            self._suspect_orphans()
            if isinstance(e, asyncio.CancelledError):
                raise
            logger.debug("recovering calls of %s: %s", self._api_name, e)

    def _suspect_orphans(self) -> None:
        """Have this process's list be looked through before the next calls are taken."""
        self._may_hold_orphans = True
        if self._rung is not None:
            self._rung.wake()

    async def _recover_own(self) -> None:
        """Settle calls in this process's list that it does not know."""
        async with self._recovering:
            # A take that is still on its way on a broken connection would move more calls after this look.
            self._pipe.end_remains(self._link)
            known = set(self._taken.values())
            for blob in [b for b in await self._pipe.send("LRANGE", self._mine, 0, -1) if b not in known]:
                await self._settle(blob)
        self._may_hold_orphans = False

    async def _settle(self, blob: bytes) -> None:
        """Give a dead process's call back if it was not started; else tell its caller that it is lost."""
        try:
            call = self._codec.decode_call(blob)
        except InvalidMessage as e:
            self._refuse(blob, e)
            return
        # Its key is there until somebody begins to run it; the next process that takes it removes the key.
        if await self._pipe.send("EXISTS", self._expiry + call.id):
            await self._pipe.run(RELEASE(queue=self._queue, mine=self._mine, call=blob))
            self._pipe.ring(self._queue)
            return
        self._answer(call, loss_of(call), blob)


def _note_deadline(call: RpcMessage, left: object, value: bytes) -> None:
    """Note when a call's caller gives up, if that can be told.

    Args:
        call: The call.
        left: Milliseconds that its expiry key had left.
        value: The value of the key: the seconds by which it outlives the caller's patience; 1 from 1.x.
    """
    try:
        margin = float(value) if names_reply_list(call.return_path) else 0.0
    except ValueError:
        return
    if isinstance(left, int) and left >= 0 and math.isfinite(margin):
        call.expire_at(time.monotonic() + left / 1000 - margin)
