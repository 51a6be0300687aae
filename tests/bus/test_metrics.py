"""The numbers that a bus keeps of what it does."""

from __future__ import annotations

from lightbus.metrics import BUCKETS, MOST_SERIES, Counter, Metrics, Timer


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
