"""Other programs that carry calls and events over Redis, each measured as Lightbus is.

Each has a file here, with a client and a worker in its own best style, and its packages in a file beside it.
It runs in a venv of its own, so that nothing it needs meets what Lightbus needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them.

    Args:
        name: For people.
        file: The name of its module, of its packages' file and of its venv.
        notes: What readers of its figures should know.
        venv: Another venv, relative to the checkout.
    """

    name: str
    file: str
    notes: tuple[str, ...] = ()
    venv: str = ""

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"benchmarks.peers.{self.file}"

    @property
    def python(self) -> Path:
        """The interpreter of its venv."""
        return ROOT / (self.venv or f".venv-peers/{self.file}") / "bin" / "python"


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
