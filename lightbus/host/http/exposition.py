"""The metrics of a host in the format of Prometheus: what it has counted, and what it holds at present."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Counts
from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from lightbus import __version__
from lightbus.exceptions import LightbusException
from lightbus.host.host import Host
from lightbus.runtime.counting import BUCKETS, Counter, Timer
from lightbus.transports.cards import ScheduleCard
from lightbus.transports.events import GroupStatus
from lightbus.worker.card import schedule_cards

logger = logging.getLogger(__name__)

PREFIX = "lightbus_"
#: Seconds for the brokers to tell what waits in them.
_PATIENCE = 3.0
_BOUNDS = [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]


class Exposition:
    """Collects the metrics of one host each time that it is asked, from any thread."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Metric]:
        """Go through all families."""
        host = self._host
        client = host.client
        card = client.parts.card.latest
        names = ["version", "service", "process", "application"]
        info = GaugeMetricFamily(f"{PREFIX}info", "Who this is; always 1.", labels=names)
        version = card.version if card is not None else None
        info.add_metric([__version__, client.service_name, client.process_name, version or ""], 1)
        yield info
        worker = host.life.worker
        yield from _of_schedules(schedule_cards(client.parts, worker) if worker is not None else ())
        for family in client.parts.metrics:
            yield from _counter(family) if isinstance(family, Counter) else _timer(family)
        yield from _at_present(host)
        yield from _of_outboxes(host)
        yield from _waiting(host)


def _counter(family: Counter) -> Iterator[Metric]:
    metric = CounterMetricFamily(PREFIX + family.name, family.help, labels=family.labels)
    for labels, value in list(family.values.items()):
        metric.add_metric(labels, value)
    yield metric


def _timer(family: Timer) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        PREFIX + family.name,
        f"{family.help} Outcomes: {family.outcomes}.",
        labels=[*family.labels, "outcome"],
    )
    times = HistogramMetricFamily(
        f"{PREFIX}{family.name}_seconds", f"{family.help} How long each took.", labels=family.labels
    )
    for labels, series in list(family.series.items()):
        for outcome, number in list(series.outcomes.items()):
            outcomes.add_metric([*labels, outcome], number)
        times.add_metric(labels, _cumulated(series.buckets), series.seconds)
    yield outcomes
    yield times


def _cumulated(buckets: Iterable[int]) -> list[tuple[str, float]]:
    total, found = 0, []
    for bound, number in zip(_BOUNDS, buckets, strict=True):
        total += number
        found.append((bound, float(total)))
    return found


def _at_present(host: Host) -> Iterator[Metric]:
    """The metrics that rise and fall."""
    calls = GaugeMetricFamily(f"{PREFIX}rpcs_in_flight", "Calls that run in this process.", labels=["api"])
    events = GaugeMetricFamily(
        f"{PREFIX}events_in_flight", "Events that are handled in this process.", labels=["listener"]
    )
    if host.life.worker is not None:
        for rpc in list(host.life.worker.rpcs):
            calls.add_metric([rpc.api_name], rpc.running)
        running = Counts[str]()
        for event in (*host.life.worker.events, *host.life.worker.leaving.values()):
            running[event.listener.name] += event.running
        for name, number in running.items():
            events.add_metric([name], number)
    yield calls
    yield events
    paused = GaugeMetricFamily(
        f"{PREFIX}listener_paused", "1 while the listener is paused, else 0.", labels=["listener"]
    )
    held = host.life.worker.pauses.held if host.life.worker is not None else {}
    for name in {listener.name for listener in list(host.client.listeners.values())}:
        paused.add_metric([name], int(name in held))
    yield paused
    reconnects = CounterMetricFamily(
        f"{PREFIX}reconnects",
        "How often the connection that many commands share was made again.",
        labels=["broker"],
    )
    for address, number in host.client.parts.connections.reconnects().items():
        reconnects.add_metric([address], number)
    yield reconnects


def _of_schedules(schedules: Iterable[ScheduleCard]) -> Iterator[Metric]:
    """The last run of each schedule in this process, and its next time, as they are on its card."""
    running, last, took, failed, next_run, paused = (
        GaugeMetricFamily(f"{PREFIX}schedule_{name}", what, labels=["schedule"])
        for name, what in (
            ("running", "Runs of the schedule that go on in this process."),
            ("last_start_timestamp_seconds", "When this process began its last run."),
            ("last_duration_seconds", "How long that took, once it is over."),
            ("last_failed", "1 if it raised, else 0, once it is over."),
            ("next_timestamp_seconds", "When it is due next."),
            ("paused", "1 while the schedule is paused, else 0."),
        )
    )
    for it in schedules:
        running.add_metric([it.name], it.running)
        paused.add_metric([it.name], int(it.is_paused))
        for gauge, value in ((last, it.started), (took, it.seconds), (next_run, it.next_run)):
            if value is not None:
                gauge.add_metric([it.name], value)
        if it.outcome is not None:
            failed.add_metric([it.name], it.outcome != "ok")
    yield from (running, last, took, failed, next_run, paused)


def _of_outboxes(host: Host) -> Iterator[Metric]:
    """The events that wait in the databases whose outboxes this process relays, as it saw them last."""
    rows, oldest, failed, leads = (
        GaugeMetricFamily(f"{PREFIX}outbox_{name}", what, labels=labels)
        for name, what, labels in (
            ("rows", "Events that wait in the outbox.", ["database"]),
            ("oldest_seconds", "How long the oldest of them has waited.", ["database"]),
            ("failed", "Events of the outbox that can't be sent.", ["database"]),
            ("is_leader", "Whether this process sent the last events.", ["database", "partition"]),
        )
    )
    for relay in host.life.relays:
        leads.add_metric([relay.name, str(relay.part)], relay.leads)
        if relay.part == 0:
            rows.add_metric([relay.name], relay.waiting.rows)
            oldest.add_metric([relay.name], relay.waiting.oldest)
            failed.add_metric([relay.name], relay.waiting.failed)
    yield from (rows, oldest, failed, leads)


def _waiting(host: Host) -> Iterator[Metric]:
    """The events that wait in the broker for the listeners of this process, whichever process takes them."""
    gauges = [
        GaugeMetricFamily(f"{PREFIX}listener_{name}", what, labels=["listener", "stream"])
        for name, what in (
            ("lag", "Events that nobody has read yet."),
            ("pending", "Events read and not settled."),
            ("retrying", "Events that wait for another attempt."),
            ("dead_letters", "Events that are put aside at present."),
        )
    ]
    statuses, of_streams = _statuses(host)
    for listener, it in statuses:
        for gauge, number in zip(gauges, (it.lag, it.pending, it.retrying, it.dead), strict=True):
            gauge.add_metric([listener, it.stream], number)
    yield from gauges
    behind = GaugeMetricFamily(
        f"{PREFIX}unserved_group_waiting",
        "Events that a stream keeps for a group that no process reads.",
        labels=["group", "stream"],
    )
    blocking = GaugeMetricFamily(
        f"{PREFIX}group_blocks_trimming",
        "Share of the most events of a stream that are kept for a group; from 1 on nothing can be fired.",
        labels=["group", "stream"],
    )
    for it in of_streams:
        if not it.is_served:
            behind.add_metric([it.group, it.stream], it.waiting)
        if it.limit is not None:
            blocking.add_metric([it.group, it.stream], it.waiting / max(1, it.limit))
    yield behind
    yield blocking


def _statuses(host: Host) -> tuple[list[tuple[str, GroupStatus]], list[GroupStatus]]:
    """Ask the brokers for our groups and all of our streams; nothing where they do not answer soon."""
    loop, worker = host.client.parts.home, host.life.worker
    if loop is None or worker is None or host.life.phase != "ready":
        return [], []

    async def ask() -> tuple[list[tuple[str, GroupStatus]], list[GroupStatus]]:
        async with asyncio.timeout(_PATIENCE):
            ours = [(e.listener.name, status) for e in worker.events for status in await e.status()]
            return ours, await worker.outlook.groups()

    asked = asyncio.run_coroutine_threadsafe(ask(), loop)
    try:
        return asked.result(_PATIENCE + 1)
    except (TimeoutError, LightbusException) as e:
        asked.cancel()
        logger.debug("metrics without the events that wait in the broker: %s", e or "no answer")
        return [], []
