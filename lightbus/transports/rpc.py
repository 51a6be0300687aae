"""The port that calls travel by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from lightbus.declared.settings import Identity
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


class RpcQuestions(ABC):
    """The questions to a transport of calls."""

    @abstractmethod
    async def queue_status(self, api_names: Sequence[str]) -> Sequence[QueueStatus]:
        """Return how many calls wait and run, and which processes serve them.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """


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
