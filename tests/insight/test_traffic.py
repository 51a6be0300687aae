"""Calls by their procedures, and numbers for collectors of metrics: from what was seen of a bus."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from lightbus.insight.overview import ApiStatus, ListenerStatus, Overview, ProcessStatus
from lightbus.insight.traffic.calls import Ages, ProcedureStatus, calls
from lightbus.insight.traffic.numbers import as_prometheus, numbers, state_of
from lightbus.insight.traffic.pace import Paces
from lightbus.transports.cards import Card, ProcedureCard, Recent
from lightbus.transports.rpc import QueuedCalls

API = ApiStatus("auth", "accounts", True, ("accounts-1",), 3, 1)
CONTRACTS: dict[str, dict[str, Any]] = {"auth": {"rpcs": {"check": {}, "login": {}}}}


def served(process: str, started_at: float, **outcomes: int) -> Card:
    """The card of a process that serves one procedure."""
    recent = Recent(outcomes=outcomes, p50=0.01, p95=0.2)
    procedure = ProcedureCard(api="auth", name="check", recent=recent)
    return Card(service="accounts", process=process, started_at=started_at, procedures=(procedure,))


def seen(
    *queued: QueuedCalls, ages: Ages | None = None, cards: tuple[Card, ...] = ()
) -> list[ProcedureStatus]:
    """The procedures of one look, a thousand seconds after the first process was started."""
    return calls([API], cards, CONTRACTS, queued, ages or Ages(), now=1000.0)


def test_each_procedure_says_what_waits_and_runs_of_it() -> None:
    queued = QueuedCalls("auth", (("login", "1"), ("check", "2"), ("login", "3")), (("check", "4"),))
    first, second = seen(queued)
    assert (first.name, first.waiting, first.running, first.is_served) == ("login", 2, 0, True)
    assert (second.name, second.waiting, second.running, second.owner) == ("check", 1, 1, "accounts")


def test_what_waits_is_not_told_where_calls_may_not_be_read() -> None:
    assert API.waiting > 0
    assert {each.is_told for each in seen()} == {False}
    idle = replace(API, waiting=0, running=0)
    assert {each.is_told for each in calls([idle], (), CONTRACTS, (), Ages(), now=1000.0)} == {True}


def test_a_procedure_that_no_contract_has_is_told_where_it_is_called() -> None:
    found = seen(QueuedCalls("auth", (("gone", "1"), ("", ""))))
    assert {(each.name, each.waiting) for each in found} == {("gone", 1), ("", 1), ("check", 0), ("login", 0)}


def test_calls_are_as_old_as_they_were_seen() -> None:
    ages = Ages()
    old, new = QueuedCalls("auth", (("check", "1"),)), QueuedCalls("auth", (("check", "1"), ("login", "2")))
    ages.note(10.0, [old])
    ages.note(12.0, [new])
    ages.note(15.0, [new])
    check, login = sorted(seen(new, ages=ages), key=lambda each: each.name)
    assert check.oldest is not None and (check.oldest.seconds, check.oldest.is_least) == (5.0, True)
    assert login.oldest is not None and (login.oldest.seconds, login.oldest.is_least) == (3.0, False)
    assert login.longest is None
    taken = QueuedCalls("auth", (), (("login", "2"),))
    ages.note(16.0, [taken])
    login = next(each for each in seen(taken, ages=ages) if each.name == "login")
    assert login.oldest is None and login.longest is not None and login.longest.seconds == 4.0


def test_the_rate_of_a_process_that_was_just_started_is_by_the_time_that_it_has_run() -> None:
    cards = (served("accounts-1", 0.0, ok=590, error=10), served("accounts-2", 900.0, ok=200))
    first, *_ = seen(cards=cards)
    assert (first.name, first.rate, first.errors, first.p95) == ("check", 3.0, 10, 0.2)
    assert first.outcomes == (("ok", 790), ("error", 10))


def test_callers_are_services() -> None:
    web = [
        Card(service="web", process=f"web-{n}", calls={"auth.check": 2, "internal.x.y": 9}) for n in (1, 2)
    ]
    found = seen(cards=(*web, Card(service="shop", process="s", calls={"auth.check": 1})))
    assert [(each.api, each.callers) for each in found if each.callers] == [
        ("auth", (("web", 4), ("shop", 1)))
    ]


def values(text: str) -> dict[str, float]:
    """The numbers of a text as Prometheus reads it, by name and labels."""
    return {
        f"{sample.name} {' '.join(sample.labels.values())}".strip(): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_collector_of_metrics_reads_the_numbers_of_the_bus() -> None:
    evil = 'a"b\\c\nd'
    behind = ListenerStatus("shop", evil, "auth.*:stream", 7, True, 2, 1, 4, (), group="g", fired=9, read=2)
    at_end = ListenerStatus("shop", "mail", "s", 0, True, 0, 0, 0, (), paused="paused")
    processes = [
        ProcessStatus("shop", "1", kind="host", version="1.4"),
        ProcessStatus("shop", "2", kind="host", version="1.5", obstacles=("no",)),
        ProcessStatus("shop", "3", state="ended"),
    ]
    paces = Paces()
    paces.note(10.0, [behind, at_end])
    overview = Overview(processes, [API], [behind, at_end], ["Redis is away"])
    found = values(as_prometheus(numbers(overview, paces)))
    lag = f"lightbus_bus_listener_lag shop {evil} auth.*:stream"
    assert found[lag] == 7 and found["lightbus_bus_listener_lag shop mail s"] == 0
    assert found[f"lightbus_bus_listener_dead_letters shop {evil} auth.*:stream"] == 4
    assert found["lightbus_bus_listener_lag_seconds shop mail s"] == 0
    assert found["lightbus_bus_listener_paused shop mail s"] == 1
    assert found["lightbus_bus_processes shop ready"] == found["lightbus_bus_processes shop not ready"] == 1
    assert found["lightbus_bus_versions shop 1.5"] == 1 and "lightbus_bus_processes shop ended" not in found
    assert (found["lightbus_bus_calls_waiting auth"], found["lightbus_bus_calls_running auth"]) == (3, 1)
    assert found["lightbus_bus_brokers_away"] == 1


def test_numbers_say_whether_they_could_be_read() -> None:
    assert values(as_prometheus(state_of(None, is_readable=False))) == {"lightbus_bus_readable": 0}
    found = values(as_prometheus(state_of(2.5, is_readable=True)))
    assert found == {"lightbus_bus_readable": 1, "lightbus_bus_age_seconds": 2.5}
