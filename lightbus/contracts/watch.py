"""Watching the bus for the contracts that others publish."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from lightbus.exceptions import LightbusException, TransportUnavailable, ValidationError
from lightbus.runtime.cancellation import end
from lightbus.runtime.complaints import Complaints
from lightbus.runtime.tasks import begin

from .known import Contracts
from .validator import Validator

logger = logging.getLogger(__name__)

#: Seconds that reading contracts may take: if code asks for them, and if a message waits for them.
_TIMEOUT = 5.0
_TIMEOUT_OF_MESSAGE = 1.0
#: The fewest seconds until contracts are read again because a message does not fit, or a read has failed.
_SHORTEST = 1.0
#: The most APIs that are remembered because a message needed their contract.
_MOST_ASKED = 1_000


class Published(Protocol):
    """The used part of a transport of contracts."""

    @property
    def address(self) -> str:
        """The address of the broker."""

    async def load(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return every contract by API name, first those of some APIs; names without one may go."""

    async def look(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return the same, and leave the broker as it is."""


class ContractWatch:
    """Keeps the contracts up to date that this process knows from the bus.

    They are read before the first message that needs one, again after 0.8 of their TTL, and whenever a
    message does not fit, since its owner may just have published another contract.

    Args:
        contracts: The contracts that are kept up to date.
        transport: Returns the running event loop's transport of contracts.
        ttl: Seconds for which owners publish.
        concerned: Returns the APIs that this process uses, whose contracts are read first.
    """

    def __init__(
        self,
        contracts: Contracts,
        transport: Callable[[], Published],
        ttl: float,
        concerned: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._contracts = contracts
        self._complaints = Complaints(logger)
        self._transport = transport
        self._interval = 0.8 * ttl
        self._concerned = concerned
        # The APIs that messages needed. Their number is bounded, since names come from the bus, too.
        self._asked: set[str] = set()
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
        self._tried_at = 0.0
        #: The time of the next read, by ``time.monotonic()``; 0 before the first one.
        self.due = 0.0

    async def load(self, timeout: float = _TIMEOUT, *, only_look: bool = False) -> None:
        """Read the contracts on the bus.

        Args:
            timeout: Seconds that it may take.
            only_look: Whether the broker is left as it is; else names without a contract may go.

        Raises:
            TransportError: They can't be read.
        """
        self._tried_at = time.monotonic()
        try:
            # Outside the timeout: the first time, this imports the broker's library.
            transport = self._transport()
            async with asyncio.timeout(timeout):
                names = {*self._concerned(), *self._asked}
                found = await (transport.look(names) if only_look else transport.load(names))
        except (TimeoutError, LightbusException) as e:
            self.due = time.monotonic() + _SHORTEST
            if isinstance(e, TimeoutError):
                what = f"the contracts on the bus could not be read in time: {transport.address} is silent"
                raise TransportUnavailable(what) from None
            raise
        self.due = time.monotonic() + self._interval
        for gone in set(self._contracts.api_names()) - found.keys():
            self._contracts.remove_remote(gone)
        for api_name, contract in found.items():
            try:
                self._contracts.set_remote(api_name, dict(contract))
            except LightbusException as e:
                what = "the contract of the API %r is ignored: %s"
                self._complaints.tell("schemas", what, api_name, e)

    async def refresh(self) -> None:
        """Read the contracts, since they are due. Only the first message waits for that."""
        is_first = self.due == 0.0
        task = self._reading()
        if is_first:
            await asyncio.wait([task])

    async def changed(self, api_name: str) -> bool:
        """Tell whether the contract of an API has changed on the bus; asked if a message does not fit."""
        if len(self._asked) < _MOST_ASKED:
            self._asked.add(api_name)
        if time.monotonic() < self._tried_at + _SHORTEST:
            return False
        before = self._contracts.get(api_name)
        await asyncio.wait([self._reading()])
        return self._contracts.get(api_name) is not before

    async def validate_again(
        self,
        error: ValidationError,
        find: Callable[[str, str], Validator | None],
        api_name: str,
        name: str,
        value: Any,
    ) -> None:
        """Raise the error of a value, unless the bus has a new contract meanwhile, which the value fits.

        Args:
            error: The error by the contract that was known.
            find: Returns the validator, by API and name.
            api_name: The API.
            name: The procedure or event.
            value: The value.

        Raises:
            ValidationError: The value doesn't fit.
        """
        if not await self.changed(api_name):
            raise error
        validator = find(api_name, name)
        if validator is not None:
            validator.validate(value)

    def close(self) -> None:
        """Stop reading on the running event loop."""
        task = self._tasks.pop(asyncio.get_running_loop(), None)
        if task is not None:
            end(task)

    def _reading(self) -> asyncio.Task[None]:
        """Return the task that reads the contracts on this event loop; all messages share one read."""
        loop = asyncio.get_running_loop()
        task = self._tasks.get(loop)
        if task is None or task.done():
            task = self._tasks[loop] = begin(self._load_quietly(), "lightbus reading of contracts")
        return task

    async def _load_quietly(self) -> None:
        """Read the contracts; if that fails, messages go on without them."""
        try:
            await self.load(_TIMEOUT_OF_MESSAGE)
        except LightbusException as e:
            logger.debug("contracts could not be read: %s", e)
