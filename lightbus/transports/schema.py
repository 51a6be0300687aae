"""The port that contracts travel by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightbus.transports.audit import Audit
from lightbus.transports.coordination import Cards, Coordination
from lightbus.transports.port import Transport


class SchemaQuestions(ABC):  # noqa: B024 - what is asked here, a transport need not know
    """The questions to a transport of contracts."""

    async def foreign(self, api_names: Sequence[str]) -> Collection[str]:
        """Return the APIs whose contract comes from a Lightbus 1.x, which tells nobody who owns or serves it.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        return ()


class SchemaTransport(SchemaQuestions, Coordination, Cards, Audit, Transport):
    """Publishes contracts and reads those of others."""

    @abstractmethod
    async def store(
        self, contracts: Mapping[str, Mapping[str, Any]], ttl: float, *, human_readable: bool = True
    ) -> None:
        """Publish contracts.

        Args:
            contracts: Contracts by API name.
            ttl: Seconds for which they stay, unless they are published again.
            human_readable: Whether their text is indented, for transports that store text.
        """

    @abstractmethod
    async def withdraw(self, api_names: Sequence[str]) -> None:
        """Remove contracts that this process published, save those for which another process stands too."""

    async def look(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return the same as :meth:`load`, and leave the broker as it is."""
        return await self.load(first)

    @abstractmethod
    async def load(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return every contract on the bus by API name; malformed ones are left out with a warning.

        Args:
            first: APIs whose contracts are not left out, however many there are.
        """
