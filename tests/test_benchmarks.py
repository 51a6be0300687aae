"""The benchmark itself: the floor program runs, operations are counted rightly, misses are marked."""

from __future__ import annotations

import asyncio

from benchmarks.__main__ import CONTRACT_ROWS, ROWS, Row, measure, ratio_of, verdict
from benchmarks.measures import Measures, in_flight, one_by_one
from tests.servers import Server


def test_the_floor_program_measures_everything_that_has_a_target(redis_server: Server) -> None:
    result = measure("benchmarks.floor", "client", str(redis_server.port))
    assert [row.field for row in ROWS if row.target is not None and not getattr(result, row.field) > 0] == []


def test_what_contracts_cost_is_measured(redis_server: Server) -> None:
    result = measure("benchmarks.contracts", redis_server.url, "off")
    assert [row.field for row in CONTRACT_ROWS if not getattr(result, row.field) > 0] == []


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


def test_medians_are_taken_field_by_field_and_what_was_not_measured_stays_so() -> None:
    rounds = [Measures(rpc_p50_ms=value, consume=-value) for value in (3.0, 1.0, 2.0)]
    assert Measures.median_of(rounds) == Measures(rpc_p50_ms=2.0, consume=-2.0)
    assert Measures.best_of(rounds).rpc_p50_ms == 3.0
    assert Measures.from_json(rounds[0].to_json()) == rounds[0]


def test_a_rate_must_be_high_and_a_time_low_enough() -> None:
    rate, time = Row("", "", target=0.2), Row("", "", target=3.0, is_time=True)
    assert [verdict(rate, ratio).split()[-1] for ratio in (0.1, 0.2)] == ["MISSED", "ok"]
    assert [verdict(time, ratio).split()[-1] for ratio in (3.1, 3.0)] == ["MISSED", "ok"]
    assert verdict(Row("", ""), 1.0) == ""


def test_a_ratio_is_taken_within_each_round() -> None:
    floors = [Measures(consume=value) for value in (100.0, 10.0, 100.0)]
    buses = [Measures(consume=value) for value in (50.0, 5.0, 90.0)]
    assert ratio_of(Row("", "consume"), floors, buses) == 0.5
    assert ratio_of(Row("", "rpc_sync_p50_ms"), floors, buses) is None
