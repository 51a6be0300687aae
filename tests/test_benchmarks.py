"""The benchmark itself: its programs run, it counts rightly, misses are marked, pages are written."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import measures, report
from benchmarks.__main__ import Session
from benchmarks.growth.series import GROWTH, GROWTH_ROWS
from benchmarks.measures import Figures, Latencies, in_flight, in_window, one_by_one, paced
from benchmarks.peers import PEERS, ROOT, Peer, Program
from benchmarks.peers.direct import DIRECT
from benchmarks.plots import bars, curves
from benchmarks.process import ANEW, CpuTime, children
from benchmarks.rows import (
    CONTRACT_ROWS,
    DIRECT_ROWS,
    FLOOR,
    OURS,
    PARTS,
    ROWS,
    TARGETS,
    Rounds,
    Row,
    Target,
    middle,
    ratio,
)
from benchmarks.tally import Tally, environment
from benchmarks.typed_clients import seconds_to_import, seconds_to_write
from tests.support.eventually import eventually
from tests.support.servers import Server

#: What the floor has nothing to be compared by: it is one thread of one loop, without kinds of handlers.
ONLY_OURS = {row.figure for row in ROWS if row.base}


def test_the_floor_and_lightbus_are_measured_in_every_row(redis_server: Server) -> None:
    session = Session(redis_server, PARTS, quick=True)
    floor, ours = session.floor(), session.ours()
    assert [row.figure for row in ROWS if row.figure not in (*ONLY_OURS, *floor)] == []
    assert [row.figure for row in ROWS if row.figure not in ours] == []


def test_only_the_parts_that_are_wanted_are_measured(redis_server: Server) -> None:
    assert set(Session(redis_server, ["fire"], quick=True).floor()) == {"fire", "fire_50", "fire_batch"}


def test_programs_that_are_measured_start_hosts_as_users_do(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the helpers of tests fork has imported Lightbus: it holds more memory, and is there sooner."""
    (tmp_path / "bench_forks.py").write_text(
        "import sys\n"
        "from benchmarks.measures import report\n"
        "from tests.support.processes import ZYGOTE, clean_environment\n"
        "report({'forks': ZYGOTE.can_be([sys.executable, '-c', '0'], clean_environment())})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    session = Session(redis_server, [], quick=True)
    assert session.measure("bench_forks") == {"forks": True}, "as tests want it, which have little time"
    monkeypatch.setenv(ANEW, "1")
    assert session.measure("bench_forks") == {"forks": False}


def test_what_contracts_cost_is_measured(redis_server: Server) -> None:
    session = Session(redis_server, [], quick=True)
    figures = session.measure("benchmarks.contracts", redis_server.url, "off")
    assert [row.figure for row in CONTRACT_ROWS if not figures[row.figure] > 0] == []


def test_what_typed_clients_cost_is_measured() -> None:
    assert 0 < seconds_to_write(2) < seconds_to_write(40)
    assert seconds_to_import(1) > 0


def test_a_peer_that_is_not_installed_is_said_to_be_so(redis_server: Server) -> None:
    missing = type(PEERS[0])("Nothing", "nothing")
    session = Session(redis_server, ["fire"], quick=True)
    assert session.peer(missing) == {}
    session.tell_of([missing])
    assert session.notes == ["Nothing: not installed here; `make bench-peers` tries to."]


def test_a_peer_whose_program_is_missing_is_said_to_be_so(tmp_path: Path) -> None:
    server = Program("no-server", "nowhere")
    assert server.path() == ""
    peer = Peer("Carrier", "direct.carrier", venv=os.path.relpath(sys.prefix, ROOT), program=server)
    assert peer.absence == (
        "no-server is not installed here; `apt-get install no-server` brings it on Debian and Ubuntu."
    )
    assert replace(peer, program=None).absence == ""
    unpacked = tmp_path / "no-server"
    unpacked.touch(mode=0o755)
    assert Program("no-server", str(tmp_path)).path() == str(unpacked)


def test_peers_without_redis_are_measured_in_calls_alone(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def measure(self: Session, module: str, *args: str, **more: object) -> Figures:
        asked.append((module, *args[2:]))
        return {}

    monkeypatch.setattr(Session, "measure", measure)
    monkeypatch.setattr(Peer, "absence", "")
    for parts in (["rpc", "fire"], ["fire"]):
        for peer in (PEERS[0], *DIRECT):
            Session(redis_server, parts, quick=True).peer(peer)
    direct = [(f"benchmarks.peers.direct.{name}", "rpc") for name in ("grpc", "fastapi", "nats")]
    ours = "benchmarks.peers.lightbus1"
    assert asked == [(ours, "rpc", "fire"), *direct, (ours, "fire")]


def test_every_peer_has_its_module_and_its_packages() -> None:
    for peer in (*PEERS, *DIRECT):
        module = ROOT.joinpath(*peer.module.split(".")).with_suffix(".py")
        assert module.exists()
        assert peer.venv or module.with_suffix(".txt").exists()


def test_growth_is_measured_in_the_parts_that_are_wanted(redis_server: Server) -> None:
    session = Session(redis_server, [], quick=True)
    figures = session.measure("benchmarks.growth", redis_server.url, "apis", "processes", "cards")
    wanted = [series for series in GROWTH if series.part in ("apis", "processes", "cards")]
    assert set(figures) == {s.figure.format(number) for s in wanted for number in s.numbers[:2]}
    assert figures["apis_100_connections"] - figures["apis_1_connections"] == 99, "each waits for calls"
    assert figures["apis_100_mb"] > figures["apis_1_mb"] > 10
    assert figures["processes_2_rpc_us"] > 0 < figures["processes_2_event_us"]


def test_growth_is_told_as_multiples_of_the_smallest() -> None:
    rounds: Rounds = {OURS: [{"apis_1_rpc_us": 20.0, "apis_100_rpc_us": 30.0, "apis_1_idle": 0.0}]}
    assert report.growth(rounds) == [
        ["", "measured", "to the smallest"],
        ["a call, round 1 APIs", "20.00 µs", "1.00"],
        ["a call, round 100 APIs", "30.00 µs", "1.50"],
        ["CPU of an idle host, 1 APIs", "0.00 % of a core", "-"],
    ]
    ((title, svg),) = report.growth_plots(rounds).items()
    assert title.startswith("the cost of one") and "a call, round N APIs" in svg
    assert report.growth_plots({OURS: [{"apis_1_rpc_us": 20.0}]}) == {}, "one point is no curve"


def test_a_curve_rises_with_its_figures_and_goes_by_orders_of_magnitude() -> None:
    svg = curves("t", {"one": {1: 1.0, 10: 1.0, 100: 2.0}, "<other>": {1: 1.0}}, "N")
    lines = [line.split("points='")[1].split("'")[0] for line in svg.splitlines() if "<polyline" in line]
    (x1, y1), (x10, y10), (x100, y100) = (map(float, point.split(",")) for point in lines[0].split())
    assert x10 - x1 == pytest.approx(x100 - x10, abs=0.2)
    assert y1 == y10 > y100 == pytest.approx(36, abs=0.1), "the highest figure is at the top"
    assert "&lt;other&gt;" in svg


def test_calls_are_compared_with_what_needs_no_redis_one_by_one() -> None:
    rounds: Rounds = {
        OURS: [{"rpc_50": 30.0, "latency_p50_ms": 0.5}],
        "gRPC": [{"rpc_50": 10.0}],
        "FastAPI": [{}],
        "NATS": [{"rpc_50": 20.0}],
    }
    assert report.against(DIRECT_ROWS, rounds) == [
        ["", "Lightbus / gRPC", "Lightbus / FastAPI", "Lightbus / NATS"],
        ["RPC, 50 in flight", "3.00", "-", "1.50"],
    ]
    (told,) = report.targets(DIRECT_ROWS, rounds)[1:]
    assert told == ["RPC, 50 in flight", "at least 1.1 x NATS", "1.50 x", "met"], (
        "they are no peers over Redis"
    )


def test_the_time_of_processors_is_that_of_the_processes_asked_for() -> None:
    busy = "import time\nuntil = time.monotonic() + 600\nwhile time.monotonic() < until: pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as process:
        try:
            assert process.pid in children(os.getpid())
            used, idle = CpuTime([process.pid]), CpuTime([])
            eventually(lambda: used.share() > 5)
            assert idle.share() == 0
        finally:
            process.kill()


def test_a_part_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "rpc,speed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "there is no part 'speed'; there are rpc, fire, consume, latency, start, memory" in done.stderr
    done = subprocess.run([*command, "--growth"], capture_output=True, text=True, timeout=60)
    assert "there is no part 'rpc'; there are apis, listeners, processes, sizes, backlog" in done.stderr


def test_as_many_operations_run_as_are_counted_and_never_more_at_once_than_said() -> None:
    running, most, done = 0, 0, 0

    async def operation() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done += 1

    async def scenario() -> None:
        assert await in_flight(operation, 100, width=7) > 0
        assert (most, done) == (7, 100)
        assert len((await one_by_one(operation, 10)).seconds) == 10

    asyncio.run(scenario())


def test_code_that_submits_and_waits_has_no_more_under_way_than_said() -> None:
    under_way: list[int] = []
    most = 0

    def submit() -> object:
        nonlocal most
        under_way.append(len(under_way))
        most = max(most, len(under_way))
        return under_way.pop

    assert in_window(submit, 20, width=3) > 0  # type: ignore[arg-type]
    assert (most, under_way) == (3, [])


def test_paced_operations_know_when_they_began(tmp_path: Path) -> None:
    tally = Tally(20, tmp_path / "outcome")

    async def handle(username: str) -> None:
        tally.add(username)

    asyncio.run(paced(handle, 20, rate=10_000))
    outcome = json.loads((tmp_path / "outcome").read_text())
    assert len(outcome["latencies"]) == 20
    assert all(0 <= seconds < 300 for seconds in outcome["latencies"])


def test_a_tally_of_a_backlog_tells_the_seconds_once_all_were_handled(tmp_path: Path) -> None:
    file = tmp_path / "outcome"
    tally = Tally(3, file)
    tally.add(measures.USERNAME)
    tally.add(measures.USERNAME)
    assert not file.exists()
    tally.add(measures.USERNAME)
    outcome = json.loads(file.read_text())
    assert outcome["seconds"] > 0 and outcome["latencies"] == []
    assert environment(5, file) == {"BENCH_EVENTS": "5", "BENCH_FILE": str(file)}
    assert not file.exists()


def test_only_a_file_is_replaced_by_an_outcome(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a file that an outcome may replace"):
        environment(1, tmp_path)
    assert tmp_path.is_dir()


def test_latencies_are_told_by_their_middle_and_their_end() -> None:
    figures = Latencies([0.001] * 98 + [0.5] * 2).figures("rpc")
    assert figures["rpc_p50_ms"] == pytest.approx(1.0)
    assert figures["rpc_p99_ms"] == pytest.approx(500.0)


def test_medians_are_of_the_rounds_that_have_the_figure() -> None:
    rounds: list[Figures] = [{"fire": 3.0}, {"fire": 1.0}, {}, {"fire": 2.0}]
    assert middle(rounds, "fire") == 2.0
    assert middle(rounds, "rpc") is None


def test_a_ratio_is_taken_within_each_round() -> None:
    rounds: Rounds = {
        FLOOR: [{"consume": value} for value in (100.0, 10.0, 100.0)],
        OURS: [{"consume": value, "consume_def": 1.0} for value in (50.0, 5.0, 90.0)],
    }
    assert ratio(Row("", "", "consume"), rounds, (OURS, FLOOR)) == 0.5
    assert ratio(Row("", "", "consume_def", base="consume"), rounds, (OURS, FLOOR)) == 0.01
    assert ratio(Row("", "", "fire"), rounds, (OURS, FLOOR)) is None


def test_a_rate_must_be_high_and_a_time_low_enough() -> None:
    rate, time = Target("fire", "at least", 0.2, FLOOR), Target("rpc_p50_ms", "at most", 3, FLOOR)
    assert [rate.is_met(outcome) for outcome in (0.1, 0.2)] == [False, True]
    assert [time.is_met(outcome) for outcome in (3.1, 3.0)] == [False, True]


def test_the_best_peer_is_the_fastest_in_each_round_and_neither_we_nor_the_floor() -> None:
    rounds: Rounds = {
        FLOOR: [{"fire": 1000.0, "rpc_p50_ms": 0.1}],
        OURS: [{"fire": 80.0, "rpc_p50_ms": 1.0}],
        "one": [{"fire": 10.0, "rpc_p50_ms": 4.0}],
        "other": [{"fire": 20.0, "rpc_p50_ms": 2.0}],
        "absent": [{}],
    }
    assert Target("fire", "at least", 4, "best peer").outcome(rounds) == 4.0
    assert Target("rpc_p50_ms", "at most", 1, "best peer").outcome(rounds) == 0.5
    assert Target("fire", "at least", 1, "nobody").outcome(rounds) is None


def test_every_target_is_of_a_figure_that_is_shown() -> None:
    shown = {row.figure for row in (*ROWS, *GROWTH_ROWS)}
    assert {figure for t in TARGETS for figure in (t.figure, t.base) if figure} <= shown


def test_the_page_has_the_table_the_targets_and_the_plots(tmp_path: Path) -> None:
    rounds: Rounds = {
        FLOOR: [{"fire": 1000.0, "ready_s": 0.1}],
        OURS: [{"fire": 500.0, "ready_s": 0.2}],
        "<Peer>": [{"fire": 250.0}],
    }
    where = "Here."
    page = report.write(
        "peers", "Title", ROWS, rounds, where=where, notes=["A note."], folder=tmp_path / "results"
    )
    text = page.read_text()
    assert "| fire, awaited one by one | 1,000 /s | 500 /s | 250 /s | 0.50 |" in text
    assert "| start-up to ready | 0.10 s | 0.20 s | - | 2.00 |" in text
    assert "| fire, awaited one by one | at least 0.9 x the floor | 0.50 x | MISSED |" in text
    assert "| fire, awaited one by one | at least 1 x the best peer | 2.00 x | met |" in text
    assert "| start-up to ready | at most 0.4 s | 0.20 s | met |" in text
    assert "- A note." in text and "![fire, awaited one by one](peers-fire.svg)" in text
    assert "&lt;Peer&gt;" in (page.parent / "peers-fire.svg").read_text()
    assert json.loads((page.parent / "peers.json").read_text()) == {"where": where, "rounds": rounds}


def test_the_longest_bar_is_that_of_the_largest_figure() -> None:
    svg = bars("t", {"one": 1.0, "two": 2.0}, {"one": "1", "two": "2"}, highlighted="two")
    widths = [float(line.split("width='")[1].split("'")[0]) for line in svg.splitlines() if "<rect" in line]
    assert widths[0] == pytest.approx(widths[1] / 2, abs=0.1)


def test_where_it_was_measured_names_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    text = report.machine("redis 7.0")
    assert "processors" in text and "redis 7.0" in text
    assert socket.gethostname() not in text and str(Path.cwd()) not in text
