"""The register of those who serve an API, and the signs of life that each of them shows."""

from __future__ import annotations

import secrets
import time
from typing import Any

from lightbus.transports.redis.keys import presence_key, register_key, served_key, taken_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.scripts import LEAVE, PRESENT, RECOVER, Run

#: Seconds after which a process that shows no sign of life counts as absent.
PRESENCE = 6.0
#: How often within that time a process shows one, and looks for those that show none.
SHOWS, LOOKS = 3, 4
#: The reply to a sign of life if it is this process's turn to look for those that show none.
TURN = 2


class Presence:
    """One process among those who serve an API.

    Args:
        pipe: The Redis of the API.
        api_name: The API.
        process_name: The process.
    """

    def __init__(self, pipe: Channel, api_name: str, process_name: str) -> None:
        self._pipe = pipe
        self._api_name = api_name
        # A process name may come back with the next container; what makes the key unique must not.
        self.member = f"{process_name}:{secrets.token_hex(4)}"
        #: The list of the calls that this process has taken.
        self.taken = taken_key(api_name, self.member)
        self._shown = presence_key(api_name, self.member)
        #: The set of those who serve the API.
        self.register, self._served = register_key(api_name), served_key(api_name)

    async def show(self) -> None:
        """Show that this process lives, so that callers see that somebody serves the API."""
        await self._pipe.run(self.shown())

    def shown(self, *, may_look: bool = False) -> Run:
        """Return the script that shows it; its reply is :data:`TURN` if this process is to look for others.

        Args:
            may_look: Whether it may be this process's turn.
        """
        # By this machine's clock: where those of others are wrong, some look more often.
        return PRESENT(
            presence=self._shown, register=self.register, served=self._served,
            member=self.member, milliseconds=int(PRESENCE * 1000),
            now=int(time.time() * 1000) if may_look else 0, pause=int(PRESENCE * 1000 / LOOKS),
        )  # fmt: skip

    async def leave(self) -> None:
        """Disappear from the register."""
        leave = LEAVE(presence=self._shown, register=self.register, served=self._served, member=self.member)
        await self._pipe.run(leave)

    def members(self) -> tuple[Any, ...]:
        """Return the command that reads the register."""
        return ("SMEMBERS", self.register)

    def others(self, reply: object) -> list[str]:
        """Return the other processes of the register that was read."""
        if not isinstance(reply, list):
            return []
        # A member that is no text is not of a process, and stays.
        members = [member.decode(errors="replace") for member in reply]
        return [member for member in members if member != self.member]

    def is_present(self, member: str) -> tuple[Any, ...]:
        """Return the command that asks whether a process shows signs of life; 0 means that it does not."""
        return ("EXISTS", presence_key(self._api_name, member))

    async def take_over(self, member: str) -> list[bytes]:
        """Move the calls that an absent process had taken to this process's list; returns them."""
        recover = RECOVER(
            theirs=taken_key(self._api_name, member), mine=self.taken, register=self.register,
            presence=presence_key(self._api_name, member), member=member,
        )  # fmt: skip
        calls: list[bytes] = await self._pipe.run(recover)
        return calls
