"""The port that calls travel by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from lightbus.declared.settings import Identity
from lightbus.exceptions import WorkerLost
from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.port import Consumer, Transport


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The calls of one API.

    Args:
        api_name: The API.
        waiting: How many calls nobody has taken.
        running: How many were taken and not answered.
        process_names: The processes that serve it.
    """

    api_name: str
    waiting: int
    running: int
    process_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueuedCalls:
    """The calls of one API that wait or run, without their arguments.

    Args:
        api_name: The API.
        waiting: The procedure and the id of each call that nobody has taken, the oldest first; of a call that
            can't be read, both are empty.
        running: Likewise, of each that was taken and not answered.
        is_all: Whether there are no more; else as many are there as were to be looked at.
    """

    api_name: str
    waiting: tuple[tuple[str, str], ...] = ()
    running: tuple[tuple[str, str], ...] = ()
    is_all: bool = True


def loss_of(call: RpcMessage) -> ResultMessage:
    """Return the report to a caller that the process which was running its call has ended.

    Its empty trace tells it from the errors of procedures: theirs is a traceback, or not there at all. The
    text alone would not, since a procedure may raise a class of that name. Earlier readers go by the text.
    """
    return ResultMessage(_text_of_loss(call), call.id, error=True, trace="")


def is_loss(call: RpcMessage, result: ResultMessage) -> bool:
    """Tell whether the answer to a call is such a report."""
    if result.trace is None:
        # Earlier versions write none, and always these words.
        return result.error and result.result == _text_of_loss(call)
    return result.error and result.trace == ""


def _text_of_loss(call: RpcMessage) -> str:
    return repr(WorkerLost(f"the process that was running {call.canonical_name} ended"))


class RpcQuestions(ABC):
    """The questions to a transport of calls."""

    @abstractmethod
    async def queue_status(self, api_names: Sequence[str]) -> Sequence[QueueStatus]:
        """Return how many calls wait and run, and which processes serve them.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    async def queued_calls(self, api_name: str, most: int) -> QueuedCalls | None:
        """Return which calls of an API wait and run; None where the transport can't tell.

        Args:
            api_name: The API.
            most: How many calls that wait, and how many of each process that run, are looked at.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        return None


class RpcConsumer(Consumer):
    """The calls of one API, as its worker takes and answers them."""

    @abstractmethod
    async def take(self, limit: int) -> Sequence[RpcMessage]:
        """Return up to ``limit`` calls that are ours to run; waits a while, and may return none."""

    @abstractmethod
    def answer(self, call: RpcMessage, result: ResultMessage) -> None:
        """Send a result to its caller. Answers are sent in batches and repeated until the broker has them."""


class RpcTransport(RpcQuestions, Transport):
    """Calls procedures and serves them."""

    #: The transport of answers, if that is not the connection of calls; closed with this.
    answers: Transport | None = None

    @abstractmethod
    async def call(self, message: RpcMessage, timeout: float) -> ResultMessage:
        """Send a call and wait for its answer.

        Args:
            message: The call.
            timeout: Seconds to wait in all.

        Raises:
            LightbusTimeout: No answer came in time; ``executed`` says whether it may have run.
            NoWorker: Nobody serves the API.
            TransportUnavailable: The broker can't be reached; nothing was sent.
        """

    @abstractmethod
    async def serve(self, api_name: str, identity: Identity) -> RpcConsumer:
        """Take part in serving an API."""
