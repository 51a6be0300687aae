"""The queues of calls in this Redis, and who serves them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lightbus.exceptions import InvalidMessage
from lightbus.messages import RpcMessage
from lightbus.transports.redis.keys import presence_key, queue_key, register_key, taken_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.rpc import QueuedCalls, QueueStatus


async def queue_status(pipe: Channel, api_names: Sequence[str]) -> list[QueueStatus]:
    """Return how many calls wait and run, and the processes that show signs of life.

    Raises:
        TransportUnavailable: Redis does not answer, or refuses.
    """
    with unavailable("the queues of calls can't be read"):
        return [await _queue(pipe, api_name) for api_name in api_names]


async def queued_calls(
    pipe: Channel, decode: Callable[[bytes], RpcMessage], api_name: str, most: int
) -> QueuedCalls:
    """Return which calls wait and run; see :meth:`RpcQuestions.queued_calls`."""
    with unavailable("the queues of calls can't be read"):
        members = await pipe.send("SMEMBERS", register_key(api_name))
        taken = [taken_key(api_name, m.decode("utf-8", "surrogateescape")) for m in members]
        # One more than is wanted tells whether there are more.
        asked = [("LRANGE", key, 0, most) for key in (queue_key(api_name), *taken)]
        lists: list[list[bytes]] = []
        for reply in await pipe.send_many(asked):
            if isinstance(reply, ReplyError):
                raise reply
            lists.append(reply)
    waiting, *running = [tuple(_known(decode, blobs[:most])) for blobs in lists]
    is_all = all(len(blobs) <= most for blobs in lists)
    return QueuedCalls(api_name, waiting, tuple(call for each in running for call in each), is_all)


def _known(decode: Callable[[bytes], RpcMessage], blobs: Iterable[bytes]) -> Iterable[tuple[str, str]]:
    """Go through the procedures and the ids of calls."""
    for blob in blobs:
        try:
            call = decode(blob)
        except InvalidMessage:
            yield "", ""
        else:
            yield call.procedure_name, call.id


async def _queue(pipe: Channel, api_name: str) -> QueueStatus:
    waiting, listed = replies = await pipe.send_many(
        [("LLEN", queue_key(api_name)), ("SMEMBERS", register_key(api_name))]
    )
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise reply
    members = sorted(member.decode("utf-8", "replace") for member in listed)
    taken = [taken_key(api_name, member) for member in members]
    presences = [presence_key(api_name, member) for member in members]
    # An API may have hundreds of processes, of which most are there and run nothing.
    are_there, run = await pipe.send_many([("EXISTS", *presences), ("EXISTS", *taken)]) if members else (0, 0)
    lengths = await pipe.send_many([("LLEN", key) for key in taken]) if run != 0 else []
    if are_there not in (0, len(members)):
        signs = await pipe.send_many([("EXISTS", key) for key in presences])
        members = [member for member, sign in zip(members, signs, strict=True) if sign == 1]
    elif not are_there:
        members = []
    running = sum(length for length in lengths if isinstance(length, int))
    # The part after the last colon tells processes of one name apart.
    return QueueStatus(api_name, waiting, running, tuple(member.rpartition(":")[0] for member in members))
