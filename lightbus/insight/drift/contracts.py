"""Differences of contracts, with those who break by them and how often they call."""

from __future__ import annotations

from collections.abc import Iterator

from lightbus.bus.groups import belongs
from lightbus.contracts.compare import Difference, compare_all
from lightbus.values.wording import listed

from .drift import Drift, View


def contract(view: View) -> Iterator[Drift]:
    """An API that the service owns has another contract than the one that is published."""
    if view.contracts is None:
        return
    names = {name for name in view.declared.owned if not view.live.others_own(name, view.service)}
    gone = (
        {name for name in view.before.owned if name not in view.declared.apis} if view.knows_code else set()
    )
    old = {name: view.live.contracts[name] for name in names | gone if name in view.live.contracts}
    new = {name: own for name, own in view.contracts.items() if name in old}
    for difference in compare_all(old, new):
        yield Drift(
            sign="!" if difference.breaking else "~",
            subject=f"contract {_subject(difference)}",
            change=" ".join(filter(None, (difference.path, difference.what))),
            consequence=_consequence(view, difference),
            severity="danger" if difference.breaking else "change",
            paths=(f"apis.{difference.api}", "modules"),
        )


def _subject(difference: Difference) -> str:
    brackets = "()" if difference.kind == "procedure" else ""
    return ".".join(filter(None, (difference.api, difference.name))) + brackets


def _consequence(view: View, difference: Difference) -> str:
    sides = []
    if difference.callers:
        sides.append(f"callers{_callers(view, difference)}")
    if difference.listeners:
        sides.append(f"listeners{_listeners(view, difference)}")
    if sides:
        return f"breaks {listed(sides)}"
    return "deploy it before those who use it" if difference.owner else ""


def _callers(view: View, difference: Difference) -> str:
    """Name the services that have called it within the last hour, those first that did so most often."""
    found: dict[str, int] = {}
    for procedure, by in view.live.calls.items():
        is_meant = procedure == f"{difference.api}.{difference.name}"
        if is_meant or (not difference.name and procedure.rpartition(".")[0] == difference.api):
            for service, count in by.items():
                found[service] = found.get(service, 0) + count
    often = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    if not often:
        return ", of which none that runs now has called it in the last hour" if view.live.calls_known else ""
    return " " + ", ".join(f"{service} ({count:,}/h)" for service, count in often)


def _listeners(view: View, difference: Difference) -> str:
    """Name the groups of other services that read its events."""
    names = {
        group.group
        for stream in view.live.streams
        if stream.api == difference.api
        and (not difference.name or (difference.api, difference.name) in stream.events)
        for group in stream.groups
        if not belongs(group, view.service)
    }
    return f" {', '.join(sorted(names))}" if names else ""
