"""The remains of broken connections: commands that Redis has not read yet."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from typing import Any

from .deadlines import failure_of

#: Asks Redis for the name that it has for a connection.
NAME = ("CLIENT", "INFO")

_NAME = re.compile(rb"id=(\d+) addr=(\S+)")


class Remains:
    """The connections that took the place of each other, by the names that Redis has for them.

    Commands of a broken connection may be on their way for long, through a proxy or a network that stalls.
    Redis must not do them once they are looked for, or sent again. So the rest is ended before.
    """

    def __init__(self) -> None:
        self._present: tuple[bytes, bytes] | None = None
        self._former: list[tuple[bytes, bytes]] = []

    def note(self, reply: object) -> None:
        """Note the name of a new connection.

        Args:
            reply: The reply to :data:`NAME`.
        """
        found = _NAME.search(reply) if isinstance(reply, bytes) else None
        self._present = (found[1], found[2]) if found else None

    def note_introduced(
        self, endings: Collection[tuple[Any, ...]], replies: asyncio.Future[list[Any]]
    ) -> None:
        """Note what a new connection has answered to :data:`NAME` and to endings that followed it."""
        if not replies.cancelled() and replies.exception() is None:
            self.note(replies.result()[0])
            self.forget(endings)

    def leave(self) -> None:
        """The connection of now is one of the former."""
        if self._present is not None:
            self._former.append(self._present)
            self._present = None

    def endings(self) -> list[tuple[Any, ...]]:
        """Return commands that end the former connections.

        The address goes along, since after a restart a number may be somebody else's.
        """
        return list(map(_ending, self._former))

    def end_by(self, send_many: Callable[[list[tuple[Any, ...]]], asyncio.Future[list[Any]]]) -> None:
        """End the former connections by way of another one."""
        endings = self.endings()
        if endings:
            ended = send_many(endings)
            ended.add_done_callback(lambda _: self.forget(endings) if failure_of(ended) is None else None)

    def forget(self, ended: Collection[tuple[Any, ...]]) -> None:
        """Redis has done these endings, whether or not there was anything left to end."""
        self._former = [name for name in self._former if _ending(name) not in ended]


def _ending(name: tuple[bytes, bytes]) -> tuple[Any, ...]:
    return "CLIENT", "KILL", "ID", name[0], "ADDR", name[1]
