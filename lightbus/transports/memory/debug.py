"""Messages into the log and nowhere else, as the transport ``debug`` of Lightbus 1.x has it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from lightbus.messages import ResultMessage, RpcMessage
from lightbus.transports.events import Outgoing

from .broker import to_json
from .events import MemoryEventTransport
from .rpc import MemoryRpcTransport
from .schema import MemorySchemaTransport

logger = logging.getLogger(__name__)


class DebugEventTransport(MemoryEventTransport):
    """Logs the events that are fired; listeners wait in vain."""

    async def publish_each(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Log events, as if they were stored."""
        for event in events:
            message = event.message
            _log(
                "%s (event %s) goes nowhere, since its transport is debug", message.canonical_name, message.id
            )
            message.native_id = "0-0"


class DebugRpcTransport(MemoryRpcTransport):
    """Logs the calls that are made; workers wait in vain."""

    async def call(self, message: RpcMessage, timeout: float) -> ResultMessage:
        """Log the call, and answer it with None."""
        to_json(message.canonical_name, message.kwargs)
        _log("%s (call %s) goes nowhere, since its transport is debug", message.canonical_name, message.id)
        return ResultMessage(None, message.id)


class DebugSchemaTransport(MemorySchemaTransport):
    """Logs the contracts that are published; only this process knows them."""

    async def store(
        self, contracts: Mapping[str, Mapping[str, Any]], ttl: float, *, human_readable: bool = True
    ) -> None:
        """Log contracts, and keep them for this process."""
        for api_name in contracts:
            logger.debug("the contract of %s goes nowhere, since its transport is debug", api_name)
        await super().store(contracts, ttl, human_readable=human_readable)


def _log(text: str, name: str, message_id: str) -> None:
    logger.info(text, name, message_id, extra={"message_id": message_id})
