"""Agreement among processes over the broker: who owns an API, who runs a schedule, what is to be done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

from lightbus.declared.settings import Identity
from lightbus.exceptions import TransportError


class Coordination(ABC):
    """Owners of APIs and ticks of schedules; part of the port for contracts."""

    @abstractmethod
    async def own(self, api_names: Sequence[str], identity: Identity, ttl: float) -> Mapping[str, str]:
        """Become, or stay, an owner of APIs; the processes of one service own them together.

        Args:
            api_names: The APIs.
            identity: The process that wants to own them.
            ttl: Seconds after which an owner that does not ask again is forgotten.

        Returns:
            For each API the name of the service that owns it now.
        """

    @abstractmethod
    async def disown(self, api_names: Sequence[str], identity: Identity) -> None:
        """Own APIs no more; other processes of the service still do."""

    @abstractmethod
    async def owners(self, api_names: Sequence[str]) -> Mapping[str, Sequence[Identity]]:
        """Return the processes that own APIs now, by API.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    async def note_declared(self, service: str, record: bytes) -> None:  # noqa: B027
        """Keep what a service declares, for those who compare with it later; it outlives its processes.

        Args:
            service: The service.
            record: What it declares, as JSON.

        Raises:
            TransportError: The broker can't be reached, or refuses.
        """

    async def declared(self, services: Sequence[str]) -> Mapping[str, bytes]:
        """Return what services declared when they were started last, by service; some are not known.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        return {}

    async def note_errand(self, errand_id: str, errand: bytes) -> None:
        """Keep what somebody wants to be done, until it is, whatever becomes of the process that was asked.

        Args:
            errand_id: Its id.
            errand: What is to be done, as JSON.

        Raises:
            TransportError: The broker can't be reached, or refuses, or this transport keeps none.
        """
        raise TransportError(f"{type(self).__name__} keeps no errands")

    async def errands(self) -> Mapping[str, bytes]:
        """Return what is still to be done, by id.

        Raises:
            TransportError: The broker can't be reached, or refuses.
        """
        return {}

    async def end_errand(self, errand_id: str) -> bool:
        """Forget what is done, or is not wanted any more; tell whether it was there.

        Raises:
            TransportError: The broker can't be reached, or refuses.
        """
        return False

    @abstractmethod
    async def claim(
        self, schedule: str, tick: float, holder: str, lease: float, *, catch_up: bool = False
    ) -> Literal["ours", "had", "busy", "early"]:
        """Take one tick of a schedule; ticks are given out once and in order, and the last is remembered.

        Args:
            schedule: The schedule, with its service.
            tick: Its time in Unix seconds.
            holder: The process that wants to run it; may ask again for the same tick if the reply was lost.
            lease: Seconds for which no later tick is given out unless :meth:`hold` renews them; 0 if runs
                may overlap.
            catch_up: Whether it is given out only where an earlier one was, else remembered as the last.

        Returns:
            ``ours`` to run it now; ``had`` where it, or a later one, was given out; ``busy`` where somebody
            else still runs an earlier one, so that nobody gets it; ``early`` where its time is yet to come.
        """

    @abstractmethod
    async def hold(self, schedule: str, holder: str, lease: float) -> bool:
        """Renew the lease of the tick that runs, or end it with a lease of 0.

        Returns:
            Whether the holder has still had it.
        """
