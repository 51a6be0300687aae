"""Differences of APIs: who owns them, how long their streams are, and where they lie."""

from __future__ import annotations

from collections.abc import Iterator

from lightbus.bus.groups import belongs
from lightbus.transports.events import GroupStatus
from lightbus.transports.redis.url import url_at
from lightbus.values.wording import counted, listed

from .declared import DeclaredApi
from .drift import Drift, View
from .live import Stream
from .service import former_name
from .wording import is_kept, kept, streams


def owned_elsewhere(view: View) -> Iterator[Drift]:
    """Another service owns an API that is this one's by the manifest, so that it can't start."""
    before = former_name(view)
    for name in sorted(view.declared.owned):
        other = view.live.others_own(name, view.service)
        if other is None or (before is not None and other.service_name == before.service):
            continue
        version = view.live.versions.get((other.service_name, other.process_name), "")
        process = f"{other.process_name}, version {version}" if version else other.process_name
        yield Drift(
            sign="!",
            subject=f"api {name}",
            change=f'owned by service "{other.service_name}" ({process}) now',
            consequence=f"{view.service} can't start while it runs",
            hint=f"stop it, or leave the API to it: apis.{name}.owner: {other.service_name}",
            severity="danger",
            paths=(f"apis.{name}.owner", f"apis.{name}", "modules"),
        )


def given_up(view: View) -> Iterator[Drift]:
    """The service leaves an API to another one."""
    for name in sorted(view.before.owned):
        now = view.declared.apis.get(name)
        if now is None or now.owner in ("", view.service):
            continue
        is_there = view.live.others_own(name, view.service) is not None
        yield Drift(
            sign="-",
            subject=f"api {name}",
            change=f"left to the service {now.owner}",
            consequence="" if is_there else "which does not serve it now: calls fail until it does",
            severity="change" if is_there else "danger",
            paths=(f"apis.{name}.owner", f"apis.{name}"),
        )


def made(view: View) -> Iterator[Drift]:
    """The service that ran before serves one more API."""
    for name in sorted(view.declared.owned - view.before.owned):
        if view.live.before is not None and view.live.others_own(name, view.service) is None:
            yield Drift(
                sign="+",
                subject=f"api {name}",
                change="served from now on",
                paths=(f"apis.{name}.owner", f"apis.{name}", "modules"),
            )


def retention(view: View) -> Iterator[Drift]:
    """A stream may have another length."""
    for name, then, now in _fired(view):
        was, most = then.max_stream_length, now.max_stream_length
        if was == most:
            continue
        cut = [_cut(stream, most) for stream in view.live.streams if stream.api == name and most is not None]
        goes, stays = sum(goes for goes, _ in cut), sum(stays for _, stays in cut)
        parts = [f"{counted(goes, 'handled event')} go"] if goes else []
        parts += [f"{stays:,} unread stay"] if goes and stays else []
        yield Drift(
            sign="~",
            subject=f"retention {name}",
            change=f"max_stream_length {_number(was)} -> {_number(most)}",
            consequence=", ".join(parts),
            paths=_of_transport(view, name, "max_stream_length"),
        )


def stream_use(view: View) -> Iterator[Drift]:
    """The events of an API are spread over other streams."""
    for name, then in view.before.apis.items():
        now = view.declared.apis.get(name)
        if now is None or now.stream_use == then.stream_use or now.address != then.address:
            continue
        left = view.live.left.get(name, ())
        groups = [group for stream in left for group in stream.groups]
        others = sorted({group.group for group in groups if not belongs(group, view.service)})
        reading = f"; {listed(others)} read no more of them until changed likewise" if others else ""
        where = streams(left) or "its streams"
        yield Drift(
            sign="!" if others or is_kept(groups) else "~",
            subject=f"api {name}",
            change=f"stream_use {then.stream_use} -> {now.stream_use}",
            consequence=f"{kept(_largest(groups))} stays in {where}, unread by any listener{reading}",
            hint="let listeners handle what is there before, while nothing is fired"
            if is_kept(groups)
            else "",
            severity="danger" if others or is_kept(groups) else "change",
            paths=_of_transport(view, name, "stream_use"),
        )


def moved(view: View) -> Iterator[Drift]:
    """The events of an API travel over another Redis."""
    for name, then in view.before.apis.items():
        now = view.declared.apis.get(name)
        if now is None or now.address == then.address:
            continue
        groups = [group for stream in view.live.left.get(name, ()) for group in stream.groups]
        ours = [group for group in groups if belongs(group, view.service) or name in view.declared.owned]
        why = view.live.unseen.get(name)
        stays = f"{kept(ours)} stay at {then.address}"
        if why is not None:
            stays = f"what waits at {then.address} stays there, and can't be counted ({why})"
        is_danger, url = why is not None or is_kept(ours), url_at(then.address)
        yield Drift(
            sign="!" if is_danger else "~",
            subject=f"redis {name}",
            change=f"another server, {now.address}",
            consequence=stays,
            hint=f"see it with lightbus group list --set bus.redis.url={url}" if is_danger and url else "",
            severity="danger" if is_danger else "change",
            paths=(
                *(f"apis.{name}.event_transport.redis.{key}" for key in _PLACES),
                *(f"apis.{name}.redis.{key}" for key in _PLACES),
                *(f"apis.default.{beneath}.{key}" for beneath in _BENEATH for key in _PLACES),
                *(f"bus.redis.{key}" for key in _PLACES),
            ),
        )


_PLACES = ("url", "sentinel", "cluster")
_BENEATH = ("event_transport.redis", "redis")


def _of_transport(view: View, name: str, key: str) -> tuple[str, ...]:
    return (
        f"apis.{name}.event_transport.redis.{key}",
        f"apis.default.event_transport.redis.{key}",
        f"apis.{name}",
        "apis",
    )


def _fired(view: View) -> Iterator[tuple[str, DeclaredApi, DeclaredApi]]:
    """Go through the APIs whose events the service fires, as they were and as they are."""
    for name, now in view.declared.apis.items():
        then = view.before.apis.get(name)
        if then is not None and now.owner in ("", view.service):
            yield name, then, now


def _cut(stream: Stream, most: int | None) -> tuple[int, int]:
    """Return how many events a length cuts off a stream, and how many some group has not handled."""
    unread = max((group.waiting for group in stream.groups), default=0)
    return max(0, stream.length - max(most or 0, unread)), unread


def _largest(groups: list[GroupStatus]) -> list[GroupStatus]:
    """Return the group with the most that waits, since groups of one stream wait for the same events."""
    return [max(groups, key=lambda group: group.waiting)] if groups else []


def _number(most: int | None) -> str:
    return "any" if most is None else str(most)
