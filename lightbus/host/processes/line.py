"""The way from a process to its supervisor: a pipe for messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE = 65536


class Line:
    """The supervisor's end; use it as a context, from before the start of the process to its end.

    Args:
        variable: The variable of the environment that names the descriptor to the process.
        end: Ends each message.
        heard: Gets the messages that have come.
    """

    def __init__(self, variable: str, end: bytes, heard: Callable[[Sequence[bytes]], None]) -> None:
        self._end = end
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._reading, self._writing = os.pipe()
        self._rest = b""
        os.set_blocking(self._reading, False)
        #: The environment of the process gets these.
        self.environ = {variable: str(self._writing)}

    @property
    def passed(self) -> int:
        """The descriptor that the process gets."""
        return self._writing

    def __enter__(self) -> Self:
        self._loop.add_reader(self._reading, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read()
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
        os.close(self._writing)

    def _read(self) -> None:
        # The pipe does not end, since this process has the other end, too.
        with suppress(BlockingIOError):
            while True:
                self._rest += os.read(self._reading, _PIECE)
        *messages, self._rest = self._rest.split(self._end)
        if messages:
            self._heard(messages)
