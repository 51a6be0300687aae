"""Processes that share a schedule and are killed: ``python -m tests.faults.schedules [SECONDS]``.

What holds: a tick is given out once, to one process, which runs it at once. So each tick runs once; one whose
process is killed in the moment between is not run by another.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import tests
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server

from . import ledger
from .settings import SERVICE

PROCESSES = 3
#: Seconds between two kills, and how much a tick may be late on a busy machine.
PAUSE, LATE = 3.0, 1.5


@dataclass(slots=True)
class Outcome:
    """What became of the ticks.

    Args:
        ticks: How many came.
        kills: When, by the clock on the wall.
        twice: Those that several processes were given.
        nobody: Those that nobody was given, though no process was killed then.
        unrun: How many ticks each process was given and did not run, but the last of a killed one.
        overrun: Processes that ran what they were not given.
    """

    ticks: int = 0
    kills: list[float] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    nobody: list[int] = field(default_factory=list)
    unrun: dict[int, int] = field(default_factory=dict)
    overrun: dict[int, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether each tick ran once."""
        return not (self.twice or self.nobody or self.unrun or self.overrun)


def run(seconds: float) -> Outcome:
    """Let it tick for so many seconds, with a kill every three."""
    outcome = Outcome()
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="ticks-")))
        url = closing.enter_context(Server("valkey")).url
        (folder / "lightbus.yaml").write_text(
            f"{{service_name: {SERVICE}, modules: [tests.faults.ticking], bus: {{redis: {{url: '{url}'}}}}}}"
        )
        root = Path(tests.__file__).parent.parent
        env = {"PYTHONPATH": str(root), ledger.FOLDER: str(folder)}

        def start() -> Process:
            return closing.enter_context(lightbus_process("run", cwd=folder, env=env))

        processes = [start() for _ in range(PROCESSES)]
        for process in processes:
            process.wait_for_line("ready: ")
        killed: set[int] = set()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(PAUSE * random.uniform(0.8, 1.2))
            victim = random.randrange(PROCESSES)
            outcome.kills.append(time.time())
            processes[victim].kill()
            killed.add(processes[victim].pid)
            processes[victim] = start()
        for process in processes:
            process.terminate()
        _judge(outcome, ledger.read(folder), killed)
    return outcome


def _judge(outcome: Outcome, lines: list[ledger.Line], killed: set[int]) -> None:
    claims = [line for line in lines if line.verb == "claim"]
    given = [line for line in claims if line.words[1] == "ours"]
    seen = [int(line.words[0]) for line in claims]
    counts = Counter(int(line.words[0]) for line in given)
    outcome.ticks = max(seen) - min(seen) + 1
    outcome.twice = [tick for tick, count in counts.items() if count > 1]
    outcome.nobody = [
        tick
        for tick in range(min(seen), max(seen) + 1)
        if not counts[tick] and not any(-0.1 < kill - tick < LATE for kill in outcome.kills)
    ]
    runs = Counter(line.pid for line in lines if line.verb == "run")
    for pid, number in Counter(line.pid for line in given).items():
        lost = number - runs[pid]
        if lost > (pid in killed):
            outcome.unrun[pid] = lost
    outcome.overrun = {
        pid: number for pid, number in runs.items() if number > sum(line.pid == pid for line in given)
    }


if __name__ == "__main__":
    result = run(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
    print(result)
    sys.exit(0 if result.is_good else 1)
