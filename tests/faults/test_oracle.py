"""What the oracle makes of ledgers: each way of being wrong, and what is right although it looks odd."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.zygote import ROOT

from . import frameworks, schedules
from .bound import bound_of
from .frameworks import GRACE, Outage, Try
from .ledger import Line, read
from .ledger import delays as ledger_delays
from .memory import Trend, is_steady
from .mixed import judge_failures
from .oracle import Verdict, judge
from .planted import BUGS
from .plants import SCENARIOS
from .schedules import Outcome
from .settings import LISTENERS
from .users import LACKING
from .watcher import Left, Theft

HOSTS = ("0 1 host a 10", "0 1 host b 20")
GOOD = (
    "1 2 fired 7 good",
    "2 2 confirmed 7",
    *(f"{3 + i} 10 {verb} {name} 7 1-0" for name in LISTENERS for i, verb in enumerate(("started", "done"))),
)


def ledger(*texts: str) -> list[Line]:
    lines = []
    for text in (*HOSTS, *texts):
        at, pid, verb, *words = text.split()
        lines.append(Line(float(at), int(pid), verb, tuple(words)))
    return sorted(lines, key=lambda line: line.time)


def verdict(
    *texts: str, dead: list[tuple[int, str]] | None = None, left: Left | None = None, bound: int = 0
) -> Verdict:
    letters = {name: dead or [] for name in LISTENERS}
    return judge(ledger(*texts), left or Left(), letters, [], bound)


def wrong(*texts: str, dead: list[tuple[int, str]] | None = None, bound: int = 0) -> set[str]:
    return {name for name, examples in verdict(*texts, dead=dead, bound=bound).wrong.items() if examples}


def test_what_was_fired_confirmed_and_done_is_good() -> None:
    assert verdict(*GOOD).is_good
    assert verdict(*GOOD).confirmed == 1


def test_what_was_confirmed_and_never_done_is_lost() -> None:
    assert wrong(*GOOD[:2]) == {"lost"}
    assert wrong(*GOOD[:3]) == {"lost"}
    assert wrong("1 2 fired 7 good", "2 2 raised 7 PublishNotConfirmed") == set()


def test_what_nobody_fired_is_a_phantom() -> None:
    assert "phantom" in wrong(*GOOD[2:])


def test_what_was_called_not_fired_must_not_run() -> None:
    assert wrong(GOOD[0], "2 2 raised 7 TransportUnavailable", *GOOD[2:]) == {"denied"}


def test_what_is_left_after_the_drain_is_stuck() -> None:
    left = Left(pending=1, delayed=2, held=["1-0 of work: host-1 has it for 46.0 s, delivery 1"])
    found = verdict(*GOOD, left=left)
    assert found.count("stuck") == 3 and "host-1 has it for 46.0 s" in found.wrong["stuck"][0]


def test_poison_must_be_dead_and_what_is_good_must_not() -> None:
    poison = ("1 2 fired 7 poison", "2 2 confirmed 7")
    assert wrong(*poison, dead=[(7, "failed")]) == set()
    assert wrong(*poison) == {"lost", "not dead"}
    assert wrong(*GOOD, dead=[(7, "process_died")]) == {"foreign"}


def test_running_twice_is_right_only_within_the_bound() -> None:
    again = ("8 20 started wide 7 1-0", "9 20 done wide 7 1-0")
    assert wrong(*GOOD, *again) == {"too many twice"}
    assert wrong(*GOOD, *again, bound=1) == set()
    stored_twice = ("8 20 started wide 7 2-0", "9 20 done wide 7 2-0")
    assert wrong(*GOOD, *stored_twice) == set()


def test_a_second_start_during_an_untouched_run_is_an_overlap() -> None:
    other = ("3.5 20 started wide 7 1-0", "9 20 done wide 7 1-0")
    assert wrong(*GOOD, *other, bound=1) == {"overlap"}
    assert wrong(*GOOD, *other, "3.6 1 fault a 3.1 3.4 freeze", bound=1) == set()
    failed = ("2.5 20 started wide 7 1-0", "2.6 20 failed wide 7 1-0")
    assert wrong(*GOOD, *failed) == set()


def test_an_entry_that_changes_hands_uncounted_is_stolen_unless_a_process_is_told_to_end() -> None:
    theft = Theft(("narrow", "work.*:stream", "1-0"), "a", "b", 1, 5.0, 5.1)

    def stolen(*texts: str) -> list[str]:
        lines = ledger(*GOOD, *texts)
        return judge(lines, Left(), {name: [] for name in LISTENERS}, [theft], 0).wrong["stolen"]

    assert stolen() == ["narrow work.*:stream 1-0 from a to b, delivered 1 times, 5.000 to 5.100"]
    assert stolen("9 1 leaving b 5.05 8") == stolen("9 1 leaving a 3 5.05") == []
    assert stolen("9 1 leaving c 5.05 8", "9 1 leaving b 5.2 8", "9 1 leaving a 3 4") == stolen()


def test_a_call_runs_at_most_once_and_always_has_an_outcome() -> None:
    call = ("1 3 called 5", "2 10 ran 5", "3 3 outcome 5 result -")
    assert wrong(*call) == set()
    assert wrong(*call, "2 20 ran 5") == {"ran twice"}
    assert wrong(*call[:2]) == {"no outcome"}
    assert wrong(call[0], call[2]) == {"never ran"}
    for denial in ("LightbusTimeout no", "NoWorker -", "TransportUnavailable -"):
        assert wrong(call[0], f"3 3 outcome 5 {denial}") == set()
        assert wrong(*call[:2], f"3 3 outcome 5 {denial}") == {"ran after all"}


def test_where_there_is_a_replica_only_what_it_had_must_not_be_lost() -> None:
    lines = ledger(*GOOD[:2], "1 2 fired 8 good", "2 2 confirmed 8", "3 2 replicated 8")
    found = judge(lines, Left(), {name: [] for name in LISTENERS}, [], 0, "replicated")
    assert found.wrong["lost"] == [f"{name} 8" for name in LISTENERS]
    assert (found.kept, found.unreplicated) == (1, len(LISTENERS))


def test_an_event_may_die_with_its_processes_only_where_it_takes_long() -> None:
    begun = ("1 1 fired 7 good", "2 1 confirmed 7", "3 10 started wide 7 1-0", "5 20 started wide 7 1-0")

    def judged(*texts: str, reason: str = "process_died") -> Verdict:
        lines = ledger(*begun, *texts)
        return judge(lines, Left(), {"narrow": [], "wide": [(7, reason)]}, [], 9)

    assert judged("5.5 20 done wide 7 1-0").wrong["foreign"] == [
        "wide 7 process_died, started 2 times (good: process 10 from 3.000, process 20 from 5.000 to 5.500)"
    ]
    for promotion in ("2.5 4", "5.5 8"):
        held_up = judged(f"9 9 promotion {promotion}")
        assert (held_up.wrong["foreign"], held_up.unlucky) == ([], 1)
    assert judged("9 9 promotion 6 8").wrong["foreign"]
    assert judged("9 9 promotion 2.5 4", reason="failed").wrong["foreign"]


def test_a_call_may_run_again_only_where_a_replica_had_not_heard_of_it() -> None:
    call = ("1 3 called 5", "2 10 ran 5", "4 20 ran 5", "5 3 outcome 5 result -")
    assert wrong(*call, "9 1 promotion 2.5 8") == set()
    assert verdict(*call, "9 1 promotion 2.5 8").rerun == 1
    assert wrong(*call, "9 1 promotion 3.5 8") == {"ran twice"}


def test_what_was_begun_or_just_done_where_something_went_wrong_may_run_twice() -> None:
    lines = ledger(*GOOD, "4.02 10 killing 9", "4.9 20 killing 9")
    assert bound_of(lines, []) == len(LISTENERS)
    held = ("narrow", "work.*:stream")
    assert bound_of(lines, [{("a", *held, "1-0")}]) == len(LISTENERS) + 1
    assert bound_of(lines, [{("a", *held, "2-0"), ("b", *held, "1-0")}]) == len(LISTENERS)


def test_what_a_host_ran_may_run_twice_where_the_machine_held_it_up() -> None:
    first, again = "3 10 started wide 7 1-0", ("8 20 started wide 7 1-0", "8.5 20 done wide 7 1-0")
    begun = (*GOOD[:2], first, *again, "9 10 done wide 7 1-0")
    assert "overlap" in wrong(*begun, bound=9)
    for pid, hosts in ((10, {"a"}), (1, {"a", "b"})):
        held_up = f"9.5 {pid} held_up 5 7"
        assert "overlap" not in wrong(*begun, held_up, bound=9)
        assert ledger_delays(ledger(*begun, held_up)) == [(hosts, 5, 7)]
        assert bound_of(ledger(*begun, held_up), []) == (1 if pid == 10 else 2)
    assert "overlap" in wrong(*begun, "9.5 20 held_up 5 7", bound=9)
    # What was done to a host is bounded otherwise.
    assert bound_of(ledger(*begun, "9.5 10 held_up 5 7", "9.6 1 fault a 4 7.5 freeze"), []) == 0
    # What had ended before, or began long after that, runs once.
    assert bound_of(ledger(*GOOD, "9.5 10 held_up 50 60", "70 10 started wide 8 2-0"), []) == 0


def test_a_process_that_is_held_up_writes_that_down(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.faults.ledger import Ledger, note_delays\n"
        "note_delays(Ledger(Path(sys.argv[1]), 'worker'), 0.5)\n"
        "print('begins'); time.sleep(600)"
    )
    with Process([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) as process:
        process.wait_for_line("begins")
        process.pause()
        time.sleep(0.7)
        paused = time.monotonic()
        process.resume()
        eventually(lambda: any(_covers(line, paused) for line in read(tmp_path)))


def _covers(line: Line, moment: float) -> bool:
    return line.verb == "held_up" and float(line.words[0]) < moment < float(line.words[1])


def test_calls_beside_a_1x_may_fail_only_for_processes_that_were_killed() -> None:
    call = ("0.5 3 confirmed 1", "1 3 called 5", "2 10 ran 5", "9 3 outcome 5 LightbusWorkerError -")

    def failed(*texts: str) -> list[str]:
        lines = ledger(*call, *texts)
        found = judge(lines, Left(), {name: [] for name in LISTENERS}, [], 0)
        judge_failures(found, lines)
        return found.wrong["failed"]

    assert (
        failed() == failed("3 1 ended a 10 0") == failed("0.7 1 ended a 10 -9") == ["5 LightbusWorkerError -"]
    )
    assert failed("3 1 ended a 10 -9") == failed("4 1 fault a 2 3 peer_restarts") == []


@pytest.mark.parametrize(
    ("growth", "is_flat"), [(0.0, True), (-3.0, True), (0.5, True), (3.0, False), (30.0, False)]
)
def test_memory_that_grows_more_than_heaps_do_is_no_longer_flat(growth: float, is_flat: bool) -> None:
    warm_up = [(float(i), 20.0 + i) for i in range(20)]
    noise = (0.0, 0.2, -0.1, 0.1, -0.2)
    samples = [(20.0 + i, 50.0 + growth * i / 60 + noise[i % 5]) for i in range(61)]
    assert Trend.of([*warm_up, *samples]).is_flat is is_flat


def test_memory_is_measured_once_a_process_has_found_its_size() -> None:
    sizes = [64.7, 73.5, 76.9, 80.1, 80.3, 80.3, 81.7, 81.7, 82.5, 82.7, 82.7, 82.7]
    grown = [(5.0 * i, size) for i, size in enumerate(sizes)]
    assert [is_steady(grown[:i]) for i in range(13)] == [False] * 12 + [True]
    assert not any(is_steady([(at, 60 + at / 5) for at in range(i)]) for i in range(60)), "it grows for ever"
    assert not is_steady([])


def test_every_planted_bug_has_a_scenario() -> None:
    assert {name.partition(",")[0] for name in SCENARIOS} == {*BUGS, *LACKING}


def of_site(*tries: Try, handled: tuple[str, ...] = ("a",), delay: float = 0.0, met: int = 0) -> set[str]:
    good = (Try("fire", "a", 0, 1, 201), Try("call", "a", 0, 1, 200))
    found = frameworks.judge([*good, *tries], [Outage("stop", 2, 3, delay)], handled, met=met)
    return {name for name, examples in found.wrong.items() if examples}


def test_a_site_may_fail_only_while_redis_is_away_or_hardly_back() -> None:
    again = Try("call", "a", 3, 5, 200)
    assert of_site() == set()
    assert of_site(Try("call", "a", 2, 3 + GRACE, 503), again) == set()
    assert of_site(Try("call", "a", 2, 3.1 + GRACE, 503), again) == {"late"}
    assert of_site(Try("call", "a", 1, 1.9, 503), again) == {"late"}
    assert of_site(Try("call", "a", 2, 2.5, 500), again) == {"uncaught"}
    assert of_site(Try("call", "a", 2, 2.5, 0), again) == {"unanswered"}
    assert of_site(Try("call", "b", 2, 2.5, 503)) == {"without end"}


def test_a_machine_that_is_late_itself_makes_no_answer_of_a_site_late() -> None:
    tries = Try("call", "a", 2, 3.1 + GRACE, 503), Try("call", "a", 4, 5, 200)
    assert of_site(*tries, delay=0.2) == set()
    assert of_site(*tries, delay=0.05) == {"late"}


def test_an_outage_that_hardly_a_request_has_met_proves_nothing() -> None:
    during = [Try("call", "a", began, began + 0.9, 200) for began in (1.5, 2.5)]
    assert of_site(*during, met=2) == set()
    assert of_site(*during[1:], Try("call", "a", 3.1, 4, 200), met=2) == {"hardly met"}


def test_an_answer_of_500_is_told_with_its_time_and_the_errors_that_the_server_has_logged() -> None:
    tries = [Try("fire", "a", 10, 11, 201), Try("fire", "b", 12, 13.5, 500), Try("fire", "b", 14, 15, 500)]
    logged = (
        "[ERROR] Error in ASGI application\nTraceback (most recent call last):\n"
        '  File "app.py", line 3, in register\n    await fire()\n\n  more\nbus.Closed: this bus was closed\n'
    )
    told = frameworks.uncaught(tries, [Outage("stop", 12, 13)], f"begins\n{logged}{logged}INFO ends\n")
    assert told == [
        "2 answers of 500, from 3.5 to 5.0 s after the first request (stop 2.0 to 3.0)",
        "raised 2 times: bus.Closed: this bus was closed",
    ]
    assert frameworks.uncaught(tries[:1], [], logged) == []


def test_what_a_site_has_confirmed_is_handled_once() -> None:
    assert of_site(handled=()) == {"lost"}
    assert of_site(handled=("a", "a")) == {"twice"}
    assert of_site(handled=("a", "b")) == {"phantom"}


def ticks(*texts: str, kill: tuple[float, float] = (100, 100)) -> Outcome:
    lines = [
        Line(float(at), int(pid), verb, tuple(words))
        for at, pid, verb, *words in (text.split() for text in texts)
    ]
    outcome = Outcome(kills=[kill])
    schedules.judge(outcome, lines, {1} if kill[0] < 100 else set(), 0.0)
    return outcome


TICKS = ("1.1 1 claim 1 ours", "1.1 1 run", "1.2 1 released", "3 2 claim 3 ours", "3 2 run", "3.1 2 released")


def test_a_tick_that_nobody_runs_is_wrong_unless_a_process_was_killed_or_late() -> None:
    busy = "2.1 2 claim 2 busy"
    assert ticks(*TICKS, busy).nobody == [2]
    assert ticks(*TICKS, busy, kill=(1.9, 1.9)).nobody == [2]
    # The killer was held up between its look at the clock and the kill, or the killed one.
    assert ticks(*TICKS, busy, kill=(1.2, 2.1)).nobody == ticks(*TICKS, busy, kill=(3, 3.1)).nobody == []
    late = ("1.1 1 claim 1 ours", "1.1 1 run", "2.2 1 released", *TICKS[3:])
    assert ticks(*late, busy).nobody == []
    assert ticks(*TICKS, "2.6 2 claim 2 unanswered").nobody == []


def test_a_tick_runs_once_and_where_it_was_given() -> None:
    assert ticks(*TICKS[:3]).is_good
    assert ticks(*TICKS[:3], "1.2 2 claim 1 ours", "1.2 2 run").twice == [1]
    assert ticks(TICKS[0]).unrun == {1: 1}
    assert ticks(TICKS[0], kill=(1.2, 1.2)).is_good
    assert ticks(*TICKS[:2], "1.2 2 run").overrun == {2: 1}
