"""Differences of the service as a whole: one that is new on its bus, or has another name."""

from __future__ import annotations

from collections.abc import Iterator

from lightbus.bus.groups import belongs
from lightbus.values.wording import listed

from .declared import Declared
from .drift import Drift, View
from .wording import is_kept, kept, move


def new(view: View) -> Iterator[Drift]:
    """Nothing on the bus is of the service."""
    if view.live.before is None and not view.live.has_groups_of(view.service) and former_name(view) is None:
        yield Drift(
            sign="+",
            subject=f"service {view.service}",
            change="is new on this bus",
            consequence="if it has run with another Redis, all that waits there stays there",
            paths=("service_name", "bus.redis.url", "apis", "modules"),
        )


def renamed(view: View) -> Iterator[Drift]:
    """The service had another name, under which its groups are kept."""
    before = former_name(view)
    if before is None:
        return
    groups = [
        group for stream in view.live.streams for group in stream.groups if belongs(group, before.service)
    ]
    names = sorted({group.group for group in groups})
    own = {each.name: each.group for each in view.declared.listeners.values()}
    moves = [(n, own.get(n.removeprefix(f"{before.service}-"), "")) for n in names]
    commands = [move(old, heir) for old, heir in moves if heir]
    stays = f"{kept(groups)} of {listed(names)} stay behind" if names else ""
    yield Drift(
        sign="!",
        subject=f"service {view.service}",
        change=f"seems to have been {before.service}",
        consequence=stays,
        hint=f"stop {before.service}, then: {'; '.join(commands)}" if commands else "",
        severity="danger" if is_kept(groups) else "change",
        paths=("service_name", "modules"),
    )


def former_name(view: View) -> Declared | None:
    """Return what the service declared under another name, if it seems to have had one.

    It has never run under this one, and another service had the same APIs, or listeners of the same names and
    handlers.
    """
    if view.live.before is not None or view.live.has_groups_of(view.service):
        return None
    owners = {api.owner for api in view.declared.apis.values()}
    handlers = {(each.name, each.handler) for each in view.declared.listeners.values()}
    for other in view.live.others:
        same = {(each.name, each.handler) for each in other.listeners.values()} & handlers
        # One that the manifest names is another one.
        if other.service not in owners and (same or other.owned & view.declared.owned):
            return other
    return None
