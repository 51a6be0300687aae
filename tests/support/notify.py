"""A service manager as a host sees it: a socket that takes what ``sd_notify`` sends."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
import uuid
from types import TracebackType
from typing import Self

from tests.support.eventually import eventually


class NotifySocket:
    """Takes messages in a thread of its own.

    Args:
        abstract: Whether its address is a name without a file.
    """

    def __init__(self, *, abstract: bool = False) -> None:
        # Not the folder of a test: the path of a socket is short.
        self._folder = tempfile.mkdtemp(prefix="notify-")
        self.address = f"@{uuid.uuid4().hex}" if abstract else f"{self._folder}/socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}" if abstract else self.address)
        #: The messages in their order, each with its time; signs of life apart.
        self.messages: list[tuple[float, dict[str, str]]] = []
        self.signs: list[float] = []
        self._thread = threading.Thread(target=self._take, name="notify socket", daemon=True)
        self._thread.start()

    def environment(self, **more: str) -> dict[str, str]:
        """What a service manager puts into the environment."""
        return {"NOTIFY_SOCKET": self.address, **more}

    def all_of(self, name: str) -> list[str]:
        """The values of a name such as ``STATUS``, in their order."""
        return [message[name] for _, message in list(self.messages) if name in message]

    def states(self) -> list[str]:
        """READY, RELOADING and STOPPING, in their order."""
        told = ("READY", "RELOADING", "STOPPING")
        return [name for _, message in list(self.messages) for name in told if name in message]

    def wait_for(self, *states: str, timeout: float = 60.0) -> None:
        """Wait until these states were told and no others."""
        eventually(lambda: self.states() == [*states], timeout, f"{states}; told: {self.messages}")

    def wait_for_status(self, text: str) -> str:
        """Wait until the last sentence has some text in it, and return it."""

        def found() -> str | None:
            last = self.all_of("STATUS")[-1:]
            return last[0] if last and text in last[0] else None

        sentence = eventually(found, 60, f"a status with {text!r}; told: {self.all_of('STATUS')}")
        assert sentence is not None
        return sentence

    def wait_for_sign(self, after: float | None = None) -> None:
        """Wait for a sign of life that comes from now on."""
        since = time.monotonic() if after is None else after
        eventually(lambda: self.signs and self.signs[-1] > since, 60, "a sign of life")

    def wait_for_silence(self, seconds: float) -> None:
        """Wait until there was no sign of life for so long."""
        eventually(
            lambda: time.monotonic() - self.signs[-1] > seconds, 60, f"no sign of life for {seconds} s"
        )

    def _take(self) -> None:
        while data := self._socket.recv(65536):
            message = dict(line.split("=", 1) for line in data.decode().split("\n"))
            if message == {"WATCHDOG": "1"}:
                self.signs.append(time.monotonic())
            else:
                self.messages.append((time.monotonic(), message))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()
        shutil.rmtree(self._folder)
