"""The files of a project that a process imports, as its supervisor hears of them."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .line import Line

_VARIABLE = "LIGHTBUS_CHILD_IMPORTS"
#: Seconds between two looks at what a process has imported; some import only when they are called.
_PAUSE = 0.5
_PACKAGE = Path(__file__).parents[2]
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_LIBRARIES = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def hearing(heard: Callable[[Sequence[Path]], None]) -> Line:
    """Return the way by which a process tells what it imports.

    Args:
        heard: Gets the files that are new.
    """
    line = Line(
        _VARIABLE, b"\n", lambda told: heard([Path(name) for each in told for name in json.loads(each)])
    )
    # Python reads the text of a module from its cache where the second of the change and the size are the
    # same: as they may be, where somebody saves a file as soon as it was read.
    line.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    return line


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
