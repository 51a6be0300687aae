"""The register of those who serve an API, and the signs of life that each of them shows."""

from __future__ import annotations

import asyncio
import secrets

from lightbus.transports.redis.keys import presence_key, register_key, served_key, taken_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.scripts import LEAVE, PRESENT, RECOVER

#: Seconds after which a process that shows no sign of life counts as absent.
PRESENCE = 6.0


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
        self._register, self._served = register_key(api_name), served_key(api_name)

    async def show(self) -> None:
        """Show that this process lives, so that callers see that somebody serves the API."""
        present = PRESENT(
            presence=self._shown, register=self._register, served=self._served,
            member=self.member, milliseconds=int(PRESENCE * 1000),
        )  # fmt: skip
        await self._pipe.run(present)

    async def pause(self) -> None:
        """Wait until it is to be shown again: twice may fail before it counts as absent."""
        await asyncio.sleep(PRESENCE / 3)

    async def leave(self) -> None:
        """Disappear from the register."""
        leave = LEAVE(presence=self._shown, register=self._register, served=self._served, member=self.member)
        await self._pipe.run(leave)

    async def absent(self) -> list[str]:
        """Return those in the register who show no sign of life."""
        # A member that is no text is not of a process, and stays.
        members = [m.decode(errors="replace") for m in await self._pipe.send("SMEMBERS", self._register)]
        others = [m for m in members if m != self.member]
        if not others:
            return []
        asked = [("EXISTS", presence_key(self._api_name, m)) for m in others]
        present = await self._pipe.send_many(asked)
        return [m for m, is_present in zip(others, present, strict=True) if is_present == 0]

    async def take_over(self, member: str) -> list[bytes]:
        """Move the calls that an absent process had taken to this process's list; returns them."""
        recover = RECOVER(
            theirs=taken_key(self._api_name, member), mine=self.taken, register=self._register,
            presence=presence_key(self._api_name, member), member=member,
        )  # fmt: skip
        calls: list[bytes] = await self._pipe.run(recover)
        return calls
