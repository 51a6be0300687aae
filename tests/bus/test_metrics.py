"""The numbers that a bus keeps of what it does."""

from __future__ import annotations

import pytest

from lightbus.declared.metrics import Metrics
from lightbus.runtime.counting import BUCKETS, MOST_SERIES, Counted, Counter, Timer, Window


def test_a_counter_keeps_label_sets_apart() -> None:
    counter = Counter("reloads", ("outcome",), "")
    counter.add("applied")
    counter.add("refused", by=2)
    assert counter.values == {("applied",): 1, ("refused",): 2}
    assert (counter.total(), counter.total("refused")) == (3, 2)


def test_a_timer_counts_outcomes_and_sorts_times_into_buckets() -> None:
    timer = Timer("rpc_calls", ("api", "procedure"), "", "")
    timer.add(("auth", "check"), "ok", 0.0007)
    timer.add(("auth", "check"), "error", 0.001)
    timer.add(("auth", "check"), "ok", 100.0)
    series = timer.series["auth", "check"]
    assert (series.buckets[0], series.buckets[-1], sum(series.buckets)) == (2, 1, 3)
    assert series.seconds == 100.0017
    assert (timer.total("auth"), timer.total("auth", outcome="ok"), timer.total("shop")) == (3, 2, 0)


def test_names_from_the_wire_do_not_fill_the_memory() -> None:
    counter, timer = Counter("c", ("name",), ""), Timer("t", ("name",), "", "")
    for number in range(MOST_SERIES + 10):
        counter.add(str(number))
        timer.add((str(number),), "ok", 0.0)
    assert len(counter.values) == len(timer.series) == MOST_SERIES + 1
    assert counter.total() == timer.total() == MOST_SERIES + 10


def test_every_family_has_a_name_of_its_own_and_says_what_it_counts() -> None:
    families = list(Metrics())
    assert len({family.name for family in families}) == len(families) > 5
    assert all(family.help.endswith(".") for family in families)


def test_the_buckets_rise() -> None:
    assert list(BUCKETS) == sorted(BUCKETS)


NAMES = ("auth", "check")


def test_a_window_forgets_what_was_longer_ago() -> None:
    timer = Timer("t", ("api", "procedure"), "", "")
    window = Window(timer, 600, 60)
    assert window.look(0) == {}
    for _ in range(3):
        timer.add(NAMES, "ok", 2.0)
    assert window.look(30)[NAMES].outcomes == {"ok": 3}
    timer.add(NAMES, "error", 0.002)
    for second in range(60, 600, 60):
        assert window.look(second)[NAMES].outcomes == {"ok": 3, "error": 1}
    timer.add(NAMES, "ok", 0.2)
    for second in range(600, 900, 60):
        later = window.look(second)[NAMES]
    assert (later.outcomes, later.longest) == ({"ok": 1}, 0.2)
    for second in range(900, 1_300, 60):
        seen = window.look(second)
    assert seen == {}
    timer.add(NAMES, "ok", 0.003)
    assert window.look(1_310)[NAMES].longest == 0.003


def test_a_window_keeps_few_looks_however_often_it_is_asked() -> None:
    timer = Timer("t", ("api", "procedure"), "", "")
    window = Window(timer, 600, 60)
    for second in range(0, 5_000, 10):
        timer.add(NAMES, "ok", 0.1)
        found = window.look(second)
    assert 60 <= found[NAMES].number <= 66
    assert len(window._looks) <= 12


@pytest.mark.parametrize(("share", "within"), [(0.5, 0.0075), (0.95, 1.8), (1.0, 2.0)])
def test_times_are_as_exact_as_the_buckets_are(share: float, within: float) -> None:
    timer = Timer("t", ("api", "procedure"), "", "")
    window = Window(timer, 600, 60)
    timer.add(NAMES, "ok", 0.006, 80)
    timer.add(NAMES, "ok", 2.0, 20)
    assert window.look(0)[NAMES].within(share) == pytest.approx(within, rel=0.3)


def test_of_nothing_there_is_no_time_and_of_several_things_all_count() -> None:
    assert Counted().within(0.5) is None
    timer = Timer("t", ("api", "procedure"), "", "")
    timer.add(NAMES, "ok", 0.006)
    timer.add(("auth", "other"), "ok", 100.0)
    together = Counted.together(Window(timer, 600, 60).look(0).values())
    assert (together.outcomes, together.longest, together.within(1.0)) == ({"ok": 2}, 100.0, 100.0)
