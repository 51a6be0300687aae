"""Other programs that carry calls and events, each measured as Lightbus is; `direct` has those without Redis.

Each has a file here, with a client and a worker in its own best style, and its packages in a file beside it.
It runs in a venv of its own, so that nothing it needs meets what Lightbus needs.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENVS = ROOT / ".venv-peers"


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is no package of Python.

    Args:
        name: What it is called, and Debian's package of it.
        folder: Where it may lie in the folder of the peers' venvs, if it is not installed.
    """

    name: str
    folder: str

    def path(self) -> str:
        """Return where it is; empty if it is nowhere."""
        places = [os.environ.get("PATH", os.defpath), "/usr/sbin", str(VENVS / self.folder)]
        return shutil.which(self.name, path=os.pathsep.join(places)) or ""


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them.

    Args:
        name: For people.
        file: The name of its module; the last part of it is that of its packages' file and of its venv.
        notes: What readers of its figures should know.
        venv: Another venv, relative to the checkout.
        program: What it needs that no venv has.
    """

    name: str
    file: str
    notes: tuple[str, ...] = ()
    venv: str = ""
    program: Program | None = None

    @property
    def short(self) -> str:
        """What the command line calls it."""
        return self.file.rpartition(".")[2]

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"benchmarks.peers.{self.file}"

    @property
    def python(self) -> Path:
        """The interpreter of its venv."""
        return (ROOT / self.venv if self.venv else VENVS / self.short) / "bin" / "python"

    @property
    def absence(self) -> str:
        """Why it can't be measured here; empty if it can."""
        if not self.python.exists():
            return "not installed here; `make bench-peers` tries to."
        if self.program is not None and not self.program.path():
            name = self.program.name
            return f"{name} is not installed here; `apt-get install {name}` brings it on Debian and Ubuntu."
        return ""


PEERS = (
    Peer(
        "Lightbus 1.1.2",
        "lightbus1",
        ("runs without validation and casting, and reads 100 at a time.",),
        venv=".venv-1x",
    ),
    Peer("FastStream", "faststream", ("acknowledges each message, but for the handler that takes 100.",)),
    Peer("Taskiq", "taskiq", ("looks for a result every millisecond, since it does not wait for it.",)),
    Peer("Celery", "celery", ("has no asynchronous client: in flight means submitted and not waited for.",)),
    Peer(
        "Dramatiq",
        "dramatiq",
        ("has no asynchronous client either; its worker has 8 threads, and it shares out the messages.",),
    ),
)
