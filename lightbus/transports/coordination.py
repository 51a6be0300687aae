"""Agreement among processes over the broker: who owns an API, who runs a schedule, what is paused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from lightbus.declared.settings import Identity
from lightbus.exceptions import TransportError
from lightbus.transports.cards import AllPauses, Card, Pause


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


class Cards(ABC):  # noqa: B024 - a transport need not have any
    """The cards of processes and the pauses of listeners and schedules; part of the port for contracts."""

    async def show_card(  # noqa: B027
        self, identity: Identity, card: bytes, seconds: float
    ) -> None:
        """Let everybody who looks at the bus see the card of this process.

        Args:
            identity: The process.
            card: Its card.
            seconds: After which it is not seen any more, unless it is shown again.

        Raises:
            TransportError: The broker refuses it.
            TransportUnavailable: The broker can't be reached.
        """

    async def take_card_down(self, identity: Identity) -> None:  # noqa: B027
        """Let nobody see the card of this process any more; raises as :meth:`show_card`."""

    async def cards(self) -> Sequence[Card]:
        """Return the cards of all processes that can be read, by service and process.

        Raises:
            TransportError: The broker refuses it.
            TransportUnavailable: The broker can't be reached.
        """
        return ()

    async def had_cards(self) -> Collection[Identity]:
        """Return the processes that have a card, or had one and did not take it down: those were killed.

        Of the latter, some minutes later nothing is known any more. Raises as :meth:`cards`.
        """
        return ()

    async def pause(self, service: str, listener: str, pause: Pause) -> None:  # noqa: B027
        """Pause a listener of a service, or change its pause; raises as :meth:`show_card`."""

    async def resume(self, service: str, listener: str) -> bool:
        """End the pause of a listener; tell whether there was one. Raises as :meth:`show_card`."""
        return False

    async def change_pauses(
        self, service: str, changes: Mapping[str, tuple[Pause | None, Pause | None]]
    ) -> bool:
        """Change pauses of listeners of a service, if all of them are as they were seen.

        A transport that others may use at the same time does it in one step.

        Args:
            service: The service.
            changes: By listener the pause that was seen, and the one that takes its place; None for none.

        Returns:
            Whether they were changed: else one of them has changed meanwhile.

        Raises:
            TransportError: The broker refuses it.
            TransportUnavailable: The broker can't be reached.
        """
        held = await self.pauses([service])
        if any(held.get((service, listener)) != seen for listener, (seen, _) in changes.items()):
            return False
        for listener, (_, new) in changes.items():
            if new is None:
                await self.resume(service, listener)
            else:
                await self.pause(service, listener, new)
        return True

    async def pause_schedule(self, service: str, schedule: str, pause: Pause) -> None:  # noqa: B027
        """Pause a schedule of a service, or change its pause; raises as :meth:`show_card`.

        One that has an end behind it is kept: times within it are never made up for.
        """

    async def all_pauses(self, services: Collection[str]) -> AllPauses:
        """Return the pauses of listeners and of schedules, by one question; raises as :meth:`cards`."""
        return AllPauses()

    async def pauses(self, services: Collection[str]) -> Mapping[tuple[str, str], Pause]:
        """Return the pauses of listeners that hold now, by service and listener; raises as :meth:`cards`."""
        return (await self.all_pauses(services)).listeners
