"""The files of a project that a process imports, as its supervisor hears of them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_VARIABLE = "LIGHTBUS_CHILD_IMPORTS"
#: Seconds between two looks at what a process has imported; some import only when they are called.
_PAUSE = 0.5
_PACKAGE = Path(__file__).parents[2]
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_LIBRARIES = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


class Hearing:
    """The end of the supervisor: a pipe that is passed to one process.

    Args:
        heard: Gets the files that are new.
    """

    def __init__(self, heard: Callable[[Sequence[Path]], None]) -> None:
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._reading, self._writing = os.pipe()
        self._rest = b""
        os.set_blocking(self._reading, False)
        # Python reads the text of a module from its cache where the second of the change and the size are the
        # same: as they may be, where somebody saves a file as soon as it was read.
        self.variables = {_VARIABLE: str(self._writing), "PYTHONDONTWRITEBYTECODE": "1"}
        #: The descriptors that the process gets.
        self.passed = (self._writing,)

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
        # It does not end, since this process has the other end, too.
        with suppress(BlockingIOError):
            while True:
                self._rest += os.read(self._reading, 65536)
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._heard([Path(name) for name in json.loads(line)])


@contextmanager
def telling_imports() -> Iterator[None]:
    """Tell the supervisor what this process imports meanwhile, where it wants to know."""
    descriptor = os.environ.pop(_VARIABLE, None)
    if descriptor is None:
        yield
        return
    telling = _Telling(int(descriptor))
    threading.Thread(target=telling.keep, name="lightbus imports", daemon=True).start()
    try:
        yield
    finally:
        # Also of a start that has failed: what was imported until then may be what has to be mended.
        telling.tell()


class _Telling:
    """The end of the process.

    Args:
        descriptor: The pipe to the supervisor.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._pipe = descriptor
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def keep(self) -> None:
        while True:
            self.tell()
            time.sleep(_PAUSE)

    def tell(self) -> None:
        with self._lock, suppress(OSError):  # the supervisor is gone, and this process ends, too
            new = {file for file in _files() if file not in self._told}
            if new:
                self._told |= new
                line = f"{json.dumps(sorted(new))}\n".encode()
                while line:
                    line = line[os.write(self._pipe, line) :]


def _files() -> Iterator[str]:
    """Yield the files of modules that are neither installed nor Python's or Lightbus's own."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not _is_library(Path(file)):
            yield os.path.abspath(file)


def _is_library(file: Path) -> bool:
    parents = set(file.parents)
    return not _INSTALLED.isdisjoint(file.parts) or _PACKAGE in parents or not _LIBRARIES.isdisjoint(parents)
