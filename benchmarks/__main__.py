"""Measure Lightbus against the bare floor, and with --peers against others, in turn. Informs; never fails.

Examples: `make bench`, `make bench ARGS="--only rpc,consume --rounds 5"`, `make bench ARGS="--quick"`,
`make bench-peers`, `make bench-growth`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import measures, report
from benchmarks.growth.series import GROWTH_PARTS, GROWTH_ROWS
from benchmarks.measures import Figures
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.direct import DIRECT
from benchmarks.process import anew, start_anew
from benchmarks.rows import (
    CONTRACT_ROWS,
    DIRECT_ROWS,
    FLOOR,
    OURS,
    PARTS,
    PEER_PARTS,
    ROWS,
    WITHOUT_REDIS,
    Rounds,
    Row,
)
from tests.support.processes import Process
from tests.support.servers import KINDS, Server

ROUNDS = 3
QUICK_SCALE = 0.02
TIMEOUT = 240.0
GROWTH_TIMEOUT = 1800.0


@dataclass
class Session:
    """One run of the benchmark: its server, its programs, and what they have said so far."""

    server: Server
    parts: Sequence[str]
    quick: bool
    notes: list[str] = field(default_factory=list)
    _failures: dict[str, list[str]] = field(default_factory=dict)

    def measure(
        self, module: str, *args: str, python: str = sys.executable, timeout: float = TIMEOUT
    ) -> Figures:
        """Run one program once, as its own process, on an empty server."""
        self.server.execute("FLUSHALL")
        # Modules that are compiled at each start would add to its time, and to the memory at rest.
        env = {
            "BENCH_SCALE": str(QUICK_SCALE if self.quick else measures.SCALE),
            "PYTHONDONTWRITEBYTECODE": "",
            **anew(),
        }
        with Process([python, "-m", module, *args], env=env) as process:
            return measures.reported(process.wait_for_line("figures {", timeout=timeout))

    def floor(self) -> Figures:
        """The floor once."""
        return self.measure("benchmarks.floor", "client", str(self.server.port), *self.parts)

    def ours(self) -> Figures:
        """Lightbus once."""
        return self.measure("benchmarks.bus", self.server.url, *self.parts)

    def peer(self, peer: Peer) -> Figures:
        """A peer once; empty where it can't be measured, which a note says."""
        if peer.absence:
            self._note(peer, f"{peer.name}: {peer.absence}")
            return {}
        # There is nothing between these that would keep an event.
        parts = [part for part in self.parts if part == "rpc" or peer not in DIRECT]
        if not parts:
            return {}
        try:
            return self.measure(peer.module, "client", self.server.url, *parts, python=str(peer.python))
        except (AssertionError, RuntimeError) as error:
            print(error, file=sys.stderr)
            self._note(peer, f"{peer.name}: could not be measured; what it printed is in the terminal.")
            return {}

    def tell_of(self, peers: Sequence[Peer]) -> None:
        """Have what readers should know of these peers as the notes, and why one was not measured."""
        told = [note for peer in peers for note in self._failures.get(peer.name, ())]
        self.notes = told + [f"{peer.name} {note}" for peer in peers for note in peer.notes]

    def _note(self, peer: Peer, note: str) -> None:
        noted = self._failures.setdefault(peer.name, [])
        if note not in noted:
            noted.append(note)


def against_floor(session: Session, rounds: int, peers: Sequence[Peer]) -> Rounds:
    """Every program in turn, so that whatever else the machine does it does to all of them."""
    result: Rounds = {FLOOR: [], OURS: [], **{peer.name: [] for peer in peers}}
    for turn in range(rounds):
        say(f"round {turn + 1} of {rounds}: {FLOOR} ...")
        result[FLOOR].append(session.floor())
        say(f"round {turn + 1} of {rounds}: {OURS} ...")
        result[OURS].append(session.ours())
        for peer in peers:
            say(f"round {turn + 1} of {rounds}: {peer.name} ...")
            result[peer.name].append(session.peer(peer))
    return result


def contracts_on_and_off(session: Session, rounds: int) -> Rounds:
    """What validation and casting cost: the best of each, since anything else only makes a round slower."""
    measured: Rounds = {"off": [], "on": []}
    for turn in range(rounds):
        say(f"contracts, round {turn + 1} of {rounds} ...")
        for switch in ("on", "off") if turn % 2 else ("off", "on"):
            measured[switch].append(session.measure("benchmarks.contracts", session.server.url, switch))
    return {switch: [_best(figures)] for switch, figures in measured.items()}


def _best(rounds: Sequence[Figures]) -> Figures:
    return {name: max(figures[name] for figures in rounds) for name in rounds[0]}


def show(console: Console, title: str, lines: report.Lines) -> None:
    """Print a table, if it has lines."""
    if len(lines) < 2:
        return
    shown = Table(lines[0][0], title=title)
    for heading in lines[0][1:]:
        shown.add_column(heading, justify="right")
    for line in lines[1:]:
        shown.add_row(*line)
    console.print(shown)


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """What the command line wants."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured ({ROUNDS})")
    parser.add_argument("--only", default="", help=f"parts, with commas: {','.join((*PARTS, 'contracts'))}")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    parser.add_argument("--peer", action="append", help="one peer, by the name of its file; may be repeated")
    parser.add_argument("--contracts-only", action="store_true", help="as --only contracts")
    parser.add_argument("--growth", action="store_true", help="how cost grows, which takes long")
    parser.add_argument("--server", choices=KINDS, default="valkey", help="what to measure on (valkey)")
    parser.add_argument(
        "--write", nargs="?", type=Path, const=report.RESULTS, metavar="FOLDER", help="write pages and plots"
    )
    options = parser.parse_args()
    if options.peer:
        options.peers = True
        names = [peer.short for peer in (*PEERS, *DIRECT)]
        unknown = [name for name in options.peer if name not in names]
        if unknown:
            parser.error(f"no peer is called {unknown[0]!r}; there are {', '.join(names)}")
    known = GROWTH_PARTS if options.growth else PEER_PARTS if options.peers else (*PARTS, "contracts")
    options.parts = (
        ["contracts"] if options.contracts_only else options.only.split(",") if options.only else known
    )
    unknown = [part for part in options.parts if part not in known]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(known)}")
    return options


def main() -> None:
    """Measure and print."""
    options = arguments()
    console = Console(width=max(Console().width, 120))
    rounds = 1 if options.quick else options.rounds
    with Server(options.server) as server:
        where = report.machine(f"{server.kind} {_version(server)}")
        session = Session(server, [part for part in options.parts if part != "contracts"], options.quick)

        def finish(
            name: str,
            title: str,
            rows: Sequence[Row],
            measured: Rounds,
            tables: Sequence[report.Lines] = (),
            drawings: Mapping[str, str] | None = None,
        ) -> None:
            for lines in tables or [report.table(rows, measured)]:
                show(console, title, lines)
            show(console, "Targets", report.targets(rows, measured))
            for note in session.notes:
                console.print(f"- {note}", markup=False, highlight=False)
            if options.write:
                page = report.write(
                    name, title, rows, measured, where=where, notes=session.notes, folder=options.write,
                    tables=tables, drawings=drawings,
                )  # fmt: skip
                say(f"written: {page}")

        if options.growth:
            figures = session.measure("benchmarks.growth", server.url, *session.parts, timeout=GROWTH_TIMEOUT)
            grown: Rounds = {OURS: [figures]}
            tables, drawings = [report.growth(grown)], report.growth_plots(grown)
            finish("growth", "How cost grows", GROWTH_ROWS, grown, tables, drawings)
            return
        if session.parts:
            peers = [p for p in (*PEERS, *DIRECT) if not options.peer or p.short in options.peer]
            measured = against_floor(session, rounds, peers if options.peers else [])
            over_redis = {name: each for name, each in measured.items() if name not in WITHOUT_REDIS}
            direct = {name: each for name, each in measured.items() if name in (OURS, *WITHOUT_REDIS)}
            kind, title = "floor", "Lightbus and the floor"
            if options.peers:
                kind, title = "peers", "Lightbus and its peers"
            if len(over_redis) > 2 or len(direct) == 1:
                session.tell_of([peer for peer in PEERS if peer.name in measured])
                finish(kind, title, ROWS, over_redis)
            if any(direct[name] for name in direct if name != OURS):
                session.tell_of([peer for peer in DIRECT if peer.name in measured])
                tables = [report.table(DIRECT_ROWS, direct), report.against(DIRECT_ROWS, direct)]
                finish("direct", "Calls of Lightbus and of what needs no Redis", DIRECT_ROWS, direct, tables)
        if "contracts" in options.parts:
            session.notes.clear()
            switched = contracts_on_and_off(session, rounds)
            finish("contracts", "What validation and casting cost", CONTRACT_ROWS, switched)


def _version(server: Server) -> str:
    lines = server.execute("INFO", "server").decode().splitlines()
    found: dict[str, str] = dict(line.split(":", 1) for line in lines if ":" in line)
    return found.get("valkey_version") or found["redis_version"]


if __name__ == "__main__":
    start_anew()
    main()
