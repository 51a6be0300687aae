"""Differences of listeners: made, renamed, left behind, stopped, or with other options."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lightbus.bus.groups import belongs
from lightbus.contracts.expectations import doubts
from lightbus.transports.events import GroupStatus
from lightbus.values.wording import counted, duration, listed

from .declared import DeclaredListener
from .drift import Drift, View
from .live import MOST_LOOKED_AT, Stream
from .wording import is_kept, kept, move, standstill, streams


def made(view: View) -> Iterator[Drift]:
    """A listener gets a group that is not there."""
    for name, listener in view.declared.listeners.items():
        lacking = _lacking(view, listener)
        if lacking is None or not listener.enabled or _former(view, listener):
            continue
        where = streams(lacking) or listener.shown_events
        waiting = sum(stream.length for stream in lacking)
        yield Drift(
            sign="+",
            subject=f"listener {listener.group}",
            change=f"made on {where}, since: {listener.since}",
            consequence=_of_beginning(listener.since, waiting),
            paths=(f"listeners.{name}", "modules"),
        )


def renamed(view: View) -> Iterator[Drift]:
    """A listener takes over the group of its name before."""
    for name, listener in view.declared.listeners.items():
        groups = _former(view, listener)
        if groups and listener.enabled:
            readers = sorted({c.process_name for g in groups for c in g.consumers if c.is_alive})
            waits = f", once {listed(readers)} no longer read it" if readers else ""
            yield Drift(
                sign="~",
                subject=f"listener {listener.group}",
                change=f"takes over from {groups[0].group}{waits}",
                consequence=kept(groups),
                paths=(f"listeners.{name}.renamed_from", f"listeners.{name}", "modules"),
            )


def left_behind(view: View) -> Iterator[Drift]:
    """A group of the service has no listener any more."""
    found: dict[str, list[tuple[Stream, GroupStatus]]] = {}
    for stream in view.live.streams:
        for group in stream.groups:
            if belongs(group, view.service) and not _is_claimed(view, stream, group):
                found.setdefault(group.group, []).append((stream, group))
    for name, pairs in found.items():
        groups = [group for _, group in pairs]
        worst = max(groups, key=lambda group: group.waiting)
        yield Drift(
            sign="-",
            subject=f"listener {name}",
            change=f"left behind on {streams(stream for stream, _ in pairs)}",
            consequence=f"{kept(groups)}; {standstill(worst, view.live.now)}",
            hint=_heir(view, name, [stream for stream, _ in pairs]),
            severity="danger" if is_kept(groups) else "change",
            paths=("listeners", "modules"),
        )


def stopped(view: View) -> Iterator[Drift]:
    """A listener is switched off, so that nobody reads its group."""
    for name, listener in view.declared.listeners.items():
        groups = _groups(view, listener)
        before = view.before.listeners.get(name)
        if listener.enabled or not groups or (before is not None and not before.enabled):
            continue
        worst = max(groups, key=lambda group: group.waiting)
        yield Drift(
            sign="-",
            subject=f"listener {listener.group}",
            change="enabled true -> false",
            consequence=f"{kept(groups)}; {standstill(worst, view.live.now)}",
            severity="danger" if is_kept(groups) else "change",
            paths=(f"listeners.{name}.enabled", f"listeners.{name}", "modules"),
        )


def started(view: View) -> Iterator[Drift]:
    """A listener is switched on again."""
    for name, before, listener in _both(view):
        if listener.enabled and not before.enabled and _groups(view, listener):
            yield Drift(
                sign="+",
                subject=f"listener {listener.group}",
                change="enabled false -> true",
                consequence=f"it handles at once {kept(_groups(view, listener))}",
                paths=(f"listeners.{name}.enabled", f"listeners.{name}", "modules"),
            )


def events(view: View) -> Iterator[Drift]:
    """A listener asks for other events than before."""
    for name, before, listener in _both(view):
        more = [f"{api}.{event}" for api, event in listener.events if (api, event) not in before.events]
        less = [f"{api}.{event}" for api, event in before.events if (api, event) not in listener.events]
        if more or less:
            told = [f"no longer {listed(less)}"] if less else []
            told += [f"now also {listed(more)}"] if more else []
            yield Drift(
                sign="~",
                subject=f"listener {listener.group}",
                change=f"listens {listed(told)}",
                consequence="what waits of those is passed over" if less else "",
                paths=(f"listeners.{name}.events", f"listeners.{name}", "modules"),
            )


def unknown_event(view: View) -> Iterator[Drift]:
    """A listener asks for an event that no contract has; told once, as others may come later."""
    new = {
        name: each.events
        for name, each in view.declared.listeners.items()
        if (known := view.before.listeners.get(name)) is None or known.events != each.events
    }
    ours = view.contracts or {}
    defined = {*ours, *view.declared.owned}
    theirs = {name: contract for name, contract in view.live.contracts.items() if name not in defined}
    for doubt in doubts(new, {**theirs, **ours}, defined, view.declared.apis):
        yield Drift(
            sign="!",
            subject=f"listener {view.declared.listeners[doubt.listener].group}",
            change=f"waits for {doubt.event}",
            consequence=doubt.what,
            paths=(f"listeners.{doubt.listener}.events", f"listeners.{doubt.listener}", "modules"),
        )


def dedupe(view: View) -> Iterator[Drift]:
    """A listener remembers handled events for a shorter time."""
    for name, before, listener in _both(view):
        if before.dedupe is not None and before.dedupe > (listener.dedupe or 0):
            now = f"{duration(listener.dedupe)}" if listener.dedupe else "none"
            again = f"after {now}" if listener.dedupe else "with the same id"
            yield Drift(
                sign="~",
                subject=f"listener {listener.group}",
                change=f"dedupe {duration(before.dedupe)} -> {now}",
                consequence=f"an event that comes once more {again} runs again",
                paths=(f"listeners.{name}.dedupe", f"listeners.{name}", "modules"),
            )


def concurrency(view: View) -> Iterator[Drift]:
    """A listener handles another number of events at a time."""
    for name, before, listener in _both(view):
        if before.concurrency != listener.concurrency:
            yield Drift(
                sign="~",
                subject=f"listener {listener.group}",
                change=f"concurrency {before.concurrency} -> {listener.concurrency}",
                consequence="events no longer run in their order" if before.concurrency == 1 else "",
                paths=(f"listeners.{name}.concurrency", f"listeners.{name}", "modules"),
            )


def attempts(view: View) -> Iterator[Drift]:
    """A policy tries events more or less often."""
    for name, before, listener in _both(view):
        is_end = before.then != listener.then
        if before.attempts != listener.attempts and not is_end and listener.then != "retry":
            yield Drift(
                sign="~",
                subject=f"policy {name}.attempts",
                change=f"{before.attempts} -> {listener.attempts}",
                consequence=_past(view, before, listener),
                paths=_of_policy(view, name, "attempts"),
            )


def end(view: View) -> Iterator[Drift]:
    """A policy ends otherwise after the last attempt."""
    for name, before, listener in _both(view):
        if before.then != listener.then:
            lost = "events that fail for the last time are only logged"
            told = [lost] if listener.then == "acknowledge_and_log" else []
            yield Drift(
                sign="~",
                subject=f"policy {name}.then",
                change=f"{_end(before)} -> {_end(listener)}",
                consequence="; ".join(filter(None, (*told, _past(view, before, listener)))),
                paths=_of_policy(view, name, "then"),
            )


def _end(listener: DeclaredListener) -> str:
    times = "" if listener.then == "retry" else f" after {counted(listener.attempts, 'attempt')}"
    return f"{listener.then}{times}"


def _past(view: View, before: DeclaredListener, listener: DeclaredListener) -> str:
    """Say how many events that wait for another attempt have had as many as there are to be."""
    if listener.then == "retry":
        return ""
    was = math.inf if before.then == "retry" else before.attempts
    tried = view.live.attempts.get(listener.group, ())
    past = sum(1 for each in tried if listener.attempts <= each + 1 < was)
    least = "at least " if len(tried) >= MOST_LOOKED_AT else ""
    ends = "become dead letters" if listener.then == "dead_letter" else f"end by {listener.then}"
    told = f"{least}{counted(past, 'waiting event')} are past that and {ends} at their next failure"
    return told if past else ""


def _of_policy(view: View, name: str, key: str) -> tuple[str, ...]:
    """Return the keys that may have set an option of a listener's policy."""
    path = f"listeners.{name}.on_error"
    node = view.manifest.tree.find(path) if view.manifest.tree else None
    policy = node.value if node is not None and isinstance(node.value, str) else ""
    return (f"policies.{policy}.{key}", path, f"listeners.{name}", "modules")


def _of_beginning(since: str, waiting: int) -> str:
    if since == "new":
        return "it gets what is fired from its start on"
    if not waiting:
        return "there are no events yet"
    if since == "earliest":
        return f"{counted(waiting, 'event')} will be handled at once"
    return f"those of {counted(waiting, 'event')} that are not older will be handled at once"


def _both(view: View) -> Iterator[tuple[str, DeclaredListener, DeclaredListener]]:
    """Go through the listeners that were there before, as they were and as they are."""
    for name, listener in view.declared.listeners.items():
        before = view.before.listeners.get(name)
        if before is not None:
            yield name, before, listener


def _groups(view: View, listener: DeclaredListener) -> list[GroupStatus]:
    found = (stream.group(listener.group) for stream in view.streams_of(listener))
    return [group for group in found if group is not None]


def _lacking(view: View, listener: DeclaredListener) -> list[Stream] | None:
    """Return the streams on which a listener has no group; None if it has all."""
    wanted = view.streams_of(listener)
    lacking = [stream for stream in wanted if stream.group(listener.group) is None]
    return None if wanted and not lacking else lacking


def _former(view: View, listener: DeclaredListener) -> list[GroupStatus]:
    """Return the groups of the name that a listener had before."""
    if not listener.former_group:
        return []
    found = (stream.group(listener.former_group) for stream in view.streams_of(listener))
    return [group for group in found if group is not None]


def _is_claimed(view: View, stream: Stream, group: GroupStatus) -> bool:
    """Tell whether a listener is going to read a group of the service, or may be."""
    name = group.group.removeprefix(f"{view.service}-")
    if view.is_unseen(name):
        return True
    return any(
        group.group in (each.group, each.former_group)
        for each in view.declared.listeners.values()
        if each.listens(stream.events)
    )


def _heir(view: View, group: str, found: list[Stream]) -> str:
    """Say what to do about a group that is left behind."""
    before = next((each for each in view.before.listeners.values() if each.group == group), None)
    new = [
        each
        for each in view.declared.listeners.values()
        if any(each.listens(stream.events) for stream in found) and not _groups(view, each)
    ]
    same = [each for each in new if before is not None and each.handler == before.handler]
    if same:
        return f"the same handler as {same[0].group}: {move(group, same[0].group)}"
    removal = f"lightbus group rm {group}"
    groups = {each.group for each in view.declared.listeners.values()}
    heirs_of_others = {each.handler for each in view.before.listeners.values() if each.group not in groups}
    free = [each for each in new if each.handler not in heirs_of_others]
    if free:
        command = move(group, free[0].group)
        return f"if it is {free[0].group} now: {command}; if nobody needs its events: {removal}"
    return f"if nobody needs its events, once the new version runs: {removal}"
