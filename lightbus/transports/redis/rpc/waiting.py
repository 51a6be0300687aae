"""A call that waits for its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lightbus.messages import ResultMessage, RpcMessage


@dataclass(slots=True, eq=False)
class Waiting:
    """A call that waits for its answer.

    Args:
        message: The call.
        blob: The call as it was pushed.
        answer: Takes the answer.
        sent_at: When it was sent, by the event loop's clock.
        was_served: Whether a process of this version has served the API meanwhile.
        is_taken: Whether it could not be withdrawn any more.
    """

    message: RpcMessage
    blob: bytes
    answer: asyncio.Future[ResultMessage]
    sent_at: float
    was_served: bool = False
    is_taken: bool = False
