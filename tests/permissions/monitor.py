"""The keys that Redis sees in commands, and those that docs/reference/protocol.md lists."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import hiredis

from tests.support.eventually import eventually
from tests.support.servers import Server

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "protocol.md"

_END = b"the end of all"
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class Monitor:
    """Everything that is sent to a server meanwhile, by scripts too."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self._received = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._socket.sendall(b"MONITOR\r\n")
        self._received += self._socket.recv(5)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            # What was sent last may be on its way here.
            self._server.execute("ECHO", _END)
            eventually(lambda: _END in self._received)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while data := self._socket.recv(1 << 16):
            self._received += data

    def commands(self) -> set[tuple[bytes, ...]]:
        """The commands with their arguments."""
        found = set()
        for line in bytes(self._received).splitlines():
            arguments = tuple(
                part.decode("unicode_escape").encode("latin-1") for part in _ARGUMENT.findall(line)
            )
            if arguments:
                found.add(arguments)
        return found


def kinds_of_keys(server: Server, commands: set[tuple[bytes, ...]]) -> tuple[set[str], set[str]]:
    """The kinds of keys in these commands, and the kinds that the page lists.

    A key that is of none of these kinds stands for itself.
    """
    kinds = _listed()
    seen = set()
    for key in _keys(server, commands):
        seen.add(next((name for name, pattern in kinds.items() if pattern.fullmatch(key)), key))
    return seen, set(kinds)


def _keys(server: Server, commands: set[tuple[bytes, ...]]) -> set[str]:
    found: set[str] = set()
    reader = hiredis.Reader()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
        for command in commands:
            link.sendall(hiredis.pack_command((b"COMMAND", b"GETKEYS", *command)))  # type: ignore[arg-type]
            while (reply := reader.gets()) is False:
                reader.feed(link.recv(1 << 16))
            if isinstance(reply, list):
                found.update(key.decode() for key in reply)
    return found


def _listed() -> dict[str, re.Pattern[str]]:
    """The keys of the page's table; words in capitals stand for what differs."""
    table = PAGE.read_text().partition("## Keys\n")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `(.*?)`", table, re.MULTILINE)
    return {name: re.compile(re.sub(r"[A-Z]+", ".+", re.escape(name))) for name in names}
