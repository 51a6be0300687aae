"""The plan: every kind of difference, and all differences there are, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from . import apis, contracts, listeners, schedules, service
from .drift import NOWHERE, Drift, View

#: Each kind of difference by its name, with what finds those of its kind.
KINDS: Mapping[str, Callable[[View], Iterable[Drift]]] = {
    "service_new": service.new,
    "service_renamed": service.renamed,
    "api_owned_elsewhere": apis.owned_elsewhere,
    "api_given_up": apis.given_up,
    "api_made": apis.made,
    "contract": contracts.contract,
    "redis_moved": apis.moved,
    "stream_use": apis.stream_use,
    "retention": apis.retention,
    "listener_left_behind": listeners.left_behind,
    "listener_made": listeners.made,
    "listener_renamed": listeners.renamed,
    "listener_stopped": listeners.stopped,
    "listener_started": listeners.started,
    "listener_events": listeners.events,
    "unknown_event": listeners.unknown_event,
    "dedupe": listeners.dedupe,
    "concurrency": listeners.concurrency,
    "policy_attempts": listeners.attempts,
    "policy_end": listeners.end,
    "schedule_made": schedules.made,
    "schedule_gone": schedules.gone,
    "schedule_moved": schedules.moved,
}


def plan(view: View) -> list[Drift]:
    """Return all differences, the worst first, those of a severity in the order of the kinds."""
    found = list(_find(view))
    return sorted(found, key=lambda drift: drift.severity != "danger")


def _find(view: View) -> Iterator[Drift]:
    for kind, find in KINDS.items():
        for drift in find(view):
            yield _placed(view, replace(drift, kind=kind))


def _placed(view: View, drift: Drift) -> Drift:
    """Add where the manifest says it: at the first of its keys that is written there."""
    for path in drift.paths:
        node = view.manifest.tree.find(path) if view.manifest.tree else None
        if node is not None and node.where != NOWHERE:
            return replace(drift, path=path, place=node.where)
    return drift
