"""Numbers about the whole bus, for collectors of metrics, and their text in the format of Prometheus.

No label takes its values from messages: there are as many series as there are services, listeners with their
streams, and APIs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lightbus.insight.overview import ListenerStatus, Overview
from lightbus.insight.traffic.pace import Paces
from lightbus.insight.verdicts import of_process
from lightbus.runtime.counting import MOST_SERIES

_PREFIX = "lightbus_bus_"
_OF_LISTENER = ("service", "listener", "stream")
#: What is told of each listener with each of its streams.
_LISTENERS = (
    ("listener_lag", "Events that a listener has not read yet.", "lag"),
    ("listener_pending", "Events that were read for a listener and are not settled.", "pending"),
    ("listener_retrying", "Events that wait for another attempt.", "retrying"),
    ("listener_dead_letters", "Events that were put aside for a listener.", "dead"),
    ("listener_lost", "Events that left a stream before a listener had read them.", "gone"),
)
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """Numbers of one kind that rise and fall.

    Args:
        name: Its name.
        help: What is counted.
        labels: The labels that tell its numbers apart.
        samples: The values of the labels, with the number of each.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float]]


def numbers(seen: Overview, paces: Paces) -> Iterator[Family]:
    """Go through what can be counted of a look at the bus.

    Args:
        seen: The look.
        paces: How fast listeners go.
    """
    yield _family("brokers_away", "Brokers that can't be reached.", (), [((), len(seen.unreachable))])
    yield from _processes(seen)
    yield from _listeners(seen.listeners, paces)
    apis = [it for it in seen.apis if not it.name.startswith("internal.")]
    yield _family(
        "calls_waiting", "Calls that nobody has taken.", ("api",), [((it.name,), it.waiting) for it in apis]
    )
    yield _family(
        "calls_running",
        "Calls that were taken and not answered.",
        ("api",),
        [((it.name,), it.running) for it in apis],
    )
    yield _family(
        "api_processes",
        "Processes that serve an API.",
        ("api",),
        [((it.name,), len(it.processes)) for it in apis if not it.is_1x],
    )


def as_prometheus(families: Iterable[Family]) -> str:
    """Return the text of numbers, in the format of Prometheus."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} gauge"]
        for values, number in family.samples:
            pairs = zip(family.labels, values, strict=True)
            labels = ",".join(f'{name}="{_printable(value)}"' for name, value in pairs)
            shown = f"{number:g}" if number != math.floor(number) else f"{number:.0f}"
            lines.append(f"{family.name}{{{labels}}} {shown}" if labels else f"{family.name} {shown}")
    return "".join(f"{line}\n" for line in lines)


def state_of(age: float | None, *, is_readable: bool) -> Iterator[Family]:
    """Go through what tells whether the bus was read, and when.

    Args:
        age: How many seconds ago that was; None if it never was.
        is_readable: Whether it can be read now.
    """
    yield _family("readable", "1 while the bus can be read, else 0.", (), [((), int(is_readable))])
    if age is not None:
        yield _family("age_seconds", "How long ago the bus was read.", (), [((), round(age, 3))])


def _processes(seen: Overview) -> Iterator[Family]:
    states, versions = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for process in seen.processes:
        if process.state == "ended":
            continue  # How many of these are remembered says nothing.
        word = of_process(process).word
        states[process.service, "ready" if word == "ok" else word] += 1
        if process.kind == "host" and process.version:
            versions[process.service, process.version] += 1
    yield _family("processes", "Processes that are on the bus.", ("service", "state"), states.items())
    yield _family(
        "versions",
        "Processes that host a version of a service; two versions of a service are mixed.",
        ("service", "version"),
        versions.items(),
    )


def _listeners(listeners: Sequence[ListenerStatus], paces: Paces) -> Iterator[Family]:
    keys = [(it.service, it.name, it.stream) for it in listeners]
    for name, help_, field in _LISTENERS:
        counts = [float(getattr(it, field)) for it in listeners]
        yield _family(name, help_, _OF_LISTENER, zip(keys, counts, strict=True))
    behind = [(key, paces.of(it).behind) for key, it in zip(keys, listeners, strict=True)]
    yield _family(
        "listener_lag_seconds",
        "How long ago the oldest event was fired that a listener has not read, as far as that was seen.",
        _OF_LISTENER,
        [(key, round(seconds, 3)) for key, seconds in behind if seconds is not None],
    )
    is_paused = [(key, int(bool(it.paused))) for key, it in zip(keys, listeners, strict=True)]
    yield _family("listener_paused", "1 while the listener is paused, else 0.", _OF_LISTENER, is_paused)
    is_served = [(key, int(it.is_served)) for key, it in zip(keys, listeners, strict=True)]
    yield _family(
        "listener_served", "1 while a process reads for the listener, else 0.", _OF_LISTENER, is_served
    )


def _family(
    name: str, help_: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]
) -> Family:
    return Family(_PREFIX + name, help_, labels, sorted(samples)[:MOST_SERIES])


def _printable(value: str) -> str:
    # A name of the bus may have anything in it, also what is no text at all.
    return value.encode("utf-8", "replace").decode().translate(_ESCAPED)
