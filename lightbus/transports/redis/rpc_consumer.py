"""The worker's side of calls: taken into a list of its own, answered, and struck off that list."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Sequence
from typing import Any

from lightbus.exceptions import InvalidMessage
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.base import Identity, RpcConsumer

from .codec import decode_call, encode_result, return_key
from .connection import FAILURES, LinkBroken, ReplyError, backoff
from .options import RedisRpcOptions
from .scripts import RECOVER, RELEASE, TAKE
from .session import Session

logger = logging.getLogger(__name__)

#: Seconds for which a blocking read waits before it is begun again, to find a dead link.
BLOCK = 2.0
#: Seconds after which a process that shows no sign of life counts as absent.
PRESENCE = 6.0


def queue_key(api_name: str) -> str:
    """Return the key of an API's queue of calls."""
    return f"{api_name}:rpc_queue"


def served_key(api_name: str) -> str:
    """Return the key that is there while some process of this version serves an API."""
    return f"{{{queue_key(api_name)}}}:served"


def expiry_key(call_id: str) -> str:
    """Return the key whose removal is the right to run a call."""
    return f"rpc_expiry_key:{call_id}"


class RedisRpcConsumer(RpcConsumer):
    """Serves one API for one process.

    Args:
        session: The Redis of the API.
        options: How long answers are kept.
        api_name: The API.
        identity: Who serves it.
    """

    def __init__(self, session: Session, options: RedisRpcOptions, api_name: str, identity: Identity) -> None:
        self._pipe = session.pipe
        self._link = session.link()
        self._options = options
        self._api_name = api_name
        self._queue = queue_key(api_name)
        # A process name may come back with the next container; what makes the key unique must not.
        self._member = f"{identity.process_name}:{secrets.token_hex(4)}"
        self._mine = self._taken_key(self._member)
        self._register = f"{{{self._queue}}}:processes"
        self._blobs: dict[str, bytes] = {}
        self._stopping = False
        self._may_hold_orphans = False
        self._failures = 0
        self._unsent: set[asyncio.Future[Any]] = set()
        self._presence = asyncio.get_running_loop().create_task(
            self._keep_present(), name=f"lightbus presence {api_name}"
        )

    async def take(self, limit: int) -> Sequence[RpcMessage]:
        """Move calls to this process's list: wait for one, and fetch others with the same write."""
        if self._stopping:
            return ()
        commands: list[tuple[Any, ...]] = [("BLMOVE", self._queue, self._mine, "LEFT", "RIGHT", BLOCK)]
        if limit > 1:
            more = min(limit, self._options.batch_size) - 1
            commands.append(("EVALSHA", TAKE.sha, 2, self._queue, self._mine, more))
        try:
            if self._may_hold_orphans:
                await self._recover_own()
            replies = await self._link.exchange(commands, BLOCK + 2)
        except FAILURES as e:
            # A call may have been moved to this process's list by a command whose reply is lost.
            self._may_hold_orphans = True
            await self._pause(e)
            return ()
        blobs = []
        if isinstance(replies[0], bytes):
            blobs.append(replies[0])
        if len(replies) > 1 and isinstance(replies[1], list):
            blobs += replies[1]
        for reply in replies:
            if isinstance(reply, ReplyError):
                await self._after_refusal(reply)
        return await self._claim(blobs) if blobs else ()

    def answer(self, call: RpcMessage, result: ResultMessage) -> None:
        """Push the result to the caller's list and strike the call off this process's."""
        blob = self._blobs.pop(call.id, None)
        key = return_key(call.return_path)
        commands: list[tuple[Any, ...]] = []
        if key is None:
            logger.warning(
                "%s (call %s) can't be answered: its return path is not one that a caller makes",
                call.canonical_name,
                call.id,
            )
        else:
            ttl = max(1, math.ceil(self._options.result_ttl))
            commands = [("LPUSH", key, self._encode(call, result)), ("EXPIRE", key, ttl)]
        if blob is not None:
            commands.append(("LREM", self._mine, 1, blob))
        if commands:
            self._send(commands)

    async def stop(self) -> None:
        """End a waiting take at once; its connection stays usable, so that nothing is lost on the way."""
        self._stopping = True
        if self._link.client_id is not None:
            await self._pipe.send_many([("CLIENT", "UNBLOCK", self._link.client_id)])

    async def close(self) -> None:
        """Send the last answers, give back what was not started, and disappear from the register."""
        self._stopping = True
        if self._unsent:
            await asyncio.wait(self._unsent, timeout=5)
        self._presence.cancel()
        await asyncio.wait([self._presence])
        await self._link.close()
        try:
            async with asyncio.timeout(2):
                await self._pipe.send_many(
                    [("DEL", self._presence_key(self._member)), ("SREM", self._register, self._member)]
                )
        except (TimeoutError, LinkBroken) as e:
            logger.warning("could not sign off from %s: %s", self._queue, e)

    def _encode(self, call: RpcMessage, result: ResultMessage) -> bytes:
        try:
            return encode_result(result)
        except InvalidMessage as e:
            logger.error("%s (call %s) is answered with an error: %s", call.canonical_name, call.id, e)
            return encode_result(ResultMessage(repr(e), call.id, error=True))

    def _taken_key(self, member: str) -> str:
        return f"{{{self._queue}}}:taken:{member}"

    def _presence_key(self, member: str) -> str:
        return f"{{{self._queue}}}:present:{member}"

    async def _claim(self, blobs: Sequence[bytes]) -> list[RpcMessage]:
        """Decode calls and keep those whose expiry key was still there to be removed."""
        calls = []
        for blob in blobs:
            try:
                call = decode_call(blob)
                if call.api_name != self._api_name:
                    raise InvalidMessage(f"not a call of the API {self._api_name!r}")
            except InvalidMessage as e:
                logger.warning("a message in %s is dropped: %s", self._queue, e)
                self._send([("LREM", self._mine, 1, blob)])
                continue
            calls.append((call, blob))
        if not calls:
            return []
        try:
            held = await self._pipe.send_many([("DEL", expiry_key(call.id)) for call, _ in calls])
        except LinkBroken as e:
            self._may_hold_orphans = True
            await self._pause(e)
            return []
        self._failures = 0
        ours = []
        for (call, blob), reply in zip(calls, held, strict=True):
            if reply == 1:
                self._blobs[call.id] = blob
                ours.append(call)
            else:
                logger.debug("%s (call %s) had expired", call.canonical_name, call.id)
                self._send([("LREM", self._mine, 1, blob)])
        return ours

    def _send(self, commands: list[tuple[Any, ...]], failures: int = 0) -> None:
        """Send what must arrive: again after a broken link or a refusal, while an answer is of use."""
        future = self._pipe.send_many(commands)
        self._unsent.add(future)

        def done(future: asyncio.Future[Any]) -> None:
            self._unsent.discard(future)
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                error = next((r for r in future.result() if isinstance(r, ReplyError)), None)
                if error is None:
                    return
                if "WRONGTYPE" in str(error):
                    logger.warning("an answer was not sent, since its key is not a list: %s", error)
                    return
            if failures >= 20 or self._pipe.is_closed:
                logger.error("gave up sending an answer of %s: %s", self._api_name, error)
                return
            asyncio.get_running_loop().call_later(backoff(failures), self._send, commands, failures + 1)

        future.add_done_callback(done)

    async def _after_refusal(self, error: ReplyError) -> None:
        """Load the script where the server does not know it; wait a little after anything else."""
        if error.code == "NOSCRIPT":
            self._pipe.send_many([("SCRIPT", "LOAD", TAKE.text)])
        elif error.code != "UNBLOCKED":
            await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        if self._failures == 0:
            logger.warning("taking calls of %s: %s; trying again", self._api_name, error)
        self._failures += 1
        if not self._stopping:
            await asyncio.sleep(backoff(self._failures, self._options.consumption_restart_delay))

    async def _keep_present(self) -> None:
        """Show that this process lives, and recover the calls of those that no longer do."""
        while True:
            try:
                await self._pipe.send_many(
                    [
                        ("SET", self._presence_key(self._member), 1, "PX", int(PRESENCE * 1000)),
                        ("SET", served_key(self._api_name), 1, "PX", int(PRESENCE * 1000)),
                        ("SADD", self._register, self._member),
                    ]
                )
                await self._recover()
            except FAILURES as e:
                logger.debug("presence of %s: %s", self._api_name, e)
            await asyncio.sleep(PRESENCE / 3)

    async def _recover(self) -> None:
        members = [m.decode() for m in await self._pipe.send("SMEMBERS", self._register)]
        others = [m for m in members if m != self._member]
        if not others:
            return
        present = await self._pipe.send_many([("EXISTS", self._presence_key(m)) for m in others])
        for member, is_present in zip(others, present, strict=True):
            if is_present != 0:
                continue
            keys = [self._taken_key(member), self._mine, self._presence_key(member), self._register]
            blobs = await self._pipe.run(RECOVER, keys, [member])
            if blobs:
                logger.warning("%s died with %d calls of %s", member, len(blobs), self._api_name)
            for blob in blobs:
                await self._settle(blob)

    async def _recover_own(self) -> None:
        """Settle the calls that are in this process's list without its knowing them."""
        known = set(self._blobs.values())
        for blob in await self._pipe.send("LRANGE", self._mine, 0, -1):
            if blob not in known:
                await self._settle(blob)
        self._may_hold_orphans = False

    async def _settle(self, blob: bytes) -> None:
        """Give a dead process's call back where it was not started; else tell its caller that it is lost."""
        try:
            call = decode_call(blob)
        except InvalidMessage:
            self._send([("LREM", self._mine, 1, blob)])
            return
        if await self._pipe.send("EXISTS", expiry_key(call.id)):
            await self._pipe.run(RELEASE, [self._queue, self._mine], [blob])
            return
        self._blobs[call.id] = blob
        text = f"WorkerLost('the process that was running {call.canonical_name} died')"
        self.answer(call, ResultMessage(text, call.id, error=True))
