"""Processes that share a schedule and are killed: ``python -m tests.faults.schedules [SECONDS]``.

What holds: a tick is given out once, to one process, which runs it at once. So each tick runs once; one whose
process is killed in the moment between is not run by another. Nor does another one run the next tick, as long
as the process that runs one is late with its end.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tests
from tests.support.eventually import eventually
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server

from . import ledger
from .settings import SERVICE

PROCESSES = 3
#: Seconds between two kills; and how many there are at least.
PAUSE, KILLS = 3.0, 3
#: Seconds after which what is done for a tick is late: the next one may pass meanwhile, and nobody run it.
LATE = 0.5
#: Seconds before a kill within which the process may have been given a tick that it has not run.
_GIVEN = 1.5


@dataclass(slots=True)
class Outcome:
    """What became of the ticks.

    Args:
        ticks: How many came.
        kills: When each began and was over, by the clock on the wall.
        late: Those for which a process was late, as on a machine that held it up.
        twice: Those that several processes were given.
        nobody: Those that nobody was given, though no process was killed or late then.
        unrun: How many ticks each process was given and did not run, but the last of a killed one.
        overrun: Processes that ran what they were not given.
    """

    ticks: int = 0
    kills: list[tuple[float, float]] = field(default_factory=list)
    late: set[int] = field(default_factory=set)
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
        eventually(lambda: any(line.verb == "claim" for line in ledger.read(folder)), what="a first tick")
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(outcome.kills) < KILLS:
            time.sleep(PAUSE * random.uniform(0.8, 1.2))
            victim = random.randrange(PROCESSES)
            before = time.time()
            processes[victim].kill()
            outcome.kills.append((before, time.time()))
            killed.add(processes[victim].pid)
            processes[victim] = start()
        for process in processes:
            process.terminate()
        judge(outcome, ledger.read(folder), killed, time.time() - time.monotonic())
    return outcome


def judge(outcome: Outcome, lines: Sequence[ledger.Line], killed: set[int], wall: float) -> None:
    """Say what became of the ticks, by what the processes have written.

    Args:
        outcome: Gets it; knows the kills.
        lines: All ledgers.
        killed: The processes that were killed.
        wall: How far the clock on the wall is ahead of the ledgers'.
    """
    claims = [line for line in lines if line.verb == "claim"]
    given = [line for line in claims if line.words[1] == "ours"]
    seen = [int(line.words[0]) for line in claims]
    counts = Counter(int(line.words[0]) for line in given)
    outcome.ticks = max(seen) - min(seen) + 1
    outcome.twice = [tick for tick, count in counts.items() if count > 1]
    outcome.late = _late(lines, wall)
    outcome.nobody = [
        tick
        for tick in range(min(seen), max(seen) + 1)
        if not counts[tick]
        and not any(begin - _GIVEN < tick < end + 0.1 for begin, end in outcome.kills)
        and not outcome.late & {tick - 1, tick, tick + 1}
    ]
    runs = Counter(line.pid for line in lines if line.verb == "run")
    for pid, number in Counter(line.pid for line in given).items():
        lost = number - runs[pid]
        if lost > (pid in killed):
            outcome.unrun[pid] = lost
    outcome.overrun = {
        pid: number for pid, number in runs.items() if number > sum(line.pid == pid for line in given)
    }


def _late(lines: Sequence[ledger.Line], wall: float) -> set[int]:
    """The ticks for which some process had its answer, ran, or gave up its lease too late."""
    ticks: dict[int, int] = {}
    late = set()
    for line in lines:
        if line.verb == "claim":
            ticks[line.pid] = int(line.words[0])
        tick = ticks.get(line.pid)
        if tick is not None and line.time + wall - tick > LATE:
            late.add(tick)
    return late


if __name__ == "__main__":
    result = run(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
    print(result)
    sys.exit(0 if result.is_good else 1)
