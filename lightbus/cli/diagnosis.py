"""Everything that ``lightbus doctor`` looks at: the manifest, the code, the brokers and this machine.

The brokers are left as they are. The questions are those of ``lightbus check``, ``status`` and the start of a
host.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal

from lightbus.bus.client import BusClient
from lightbus.bus.groups import belongs, groups_of
from lightbus.cli.commands.version import versions
from lightbus.declared.names import first_of
from lightbus.exceptions import LightbusException
from lightbus.host.checks import (
    broker_problems,
    client_for,
    clock_problems,
    import_problems,
    unknown_events,
    unserved_groups,
)
from lightbus.host.shutdown import EXIT_CONFIG, EXIT_FAILED, EXIT_UNAVAILABLE
from lightbus.host.uses import is_ours, names_of_apis, use_brokers
from lightbus.insight.cards import paused_groups
from lightbus.insight.overview import Overview, overview
from lightbus.manifest import DEFAULT_FILE
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import InvalidManifest, Place, Problem
from lightbus.runtime.portal import run
from lightbus.transports.events import GroupStatus
from lightbus.transports.unserved import loss
from lightbus.values.wording import counted
from lightbus.worker.ownership import taken

#: Seconds that a broker may take for one kind of question.
_PATIENCE = 5.0
#: Open files besides a connection for each API and listener: libraries, logs, the server of metrics.
_OTHER_FILES = 64
#: The most processes and APIs that a sentence names.
_LISTED = 5
_NAMES = ("manifest", "imports", "files", "redis", "permissions", "clocks", "events", "groups", "apis")

State = Literal["ok", "note", "warning", "error", "skipped"]
_WORST_FIRST: tuple[State, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        name: Its name.
        summary: What was seen, in a few words.
        problems: What was found.
        is_skipped: Whether it could not be looked at.
    """

    name: str
    summary: str
    problems: Sequence[Problem] = ()
    is_skipped: bool = False

    @property
    def state(self) -> State:
        """How it is: as bad as the worst that was found."""
        if self.is_skipped:
            return "skipped"
        found = {problem.severity for problem in self.problems}
        return next((state for state in _WORST_FIRST if state in found), "ok")


def exit_status(checks: Sequence[Check]) -> int:
    """Return 78 for a wrong configuration, 69 where a broker is away, 1 where data is in danger, else 0."""
    problems = [problem for check in checks for problem in check.problems]
    if any(p.severity == "error" and p.topic != "away" for p in problems):
        return EXIT_CONFIG
    if any(p.topic == "away" for p in problems):
        return EXIT_UNAVAILABLE
    return EXIT_FAILED if any(p.topic == "data" and p.severity != "note" for p in problems) else 0


def diagnose(read: Callable[[], Manifest], folder: Path) -> list[Check]:
    """Look at everything.

    Args:
        read: Reads the manifest.
        folder: The folder in which modules are looked for first.
    """
    try:
        manifest = read()
    except InvalidManifest as e:
        return [
            Check("manifest", f"it has {counted(len(e.located), 'mistake')}", e.located),
            *_skipped(_NAMES[1:], "needs a manifest that can be read"),
        ]
    client = client_for(manifest)
    sources = ", ".join(manifest.sources)
    ours = f"{sources} can be read" if sources else f"there is none: no {DEFAULT_FILE}, no -c; all is default"
    checks = [Check("manifest", ours, manifest.notes), _imports(manifest, client, folder)]
    checks.append(_files(manifest, client))
    try:
        return [*checks, *run(_brokers(manifest, client))]
    finally:
        client.parts.declarations.discard_background()


def _skipped(names: Sequence[str], why: str) -> list[Check]:
    return [Check(name, why, is_skipped=True) for name in names]


def _imports(manifest: Manifest, client: BusClient, folder: Path) -> Check:
    """Import the code; a folder without any may be that of somebody who only looks after a bus."""
    names = manifest.modules
    if not (manifest.sources or manifest.modules_given or any(map(importlib.util.find_spec, names))):
        return Check("imports", f"there is no {names[0]}.py here, so nothing was imported", is_skipped=True)
    # What the code prints is none of our output.
    with contextlib.redirect_stdout(sys.stderr):
        problems = import_problems(manifest, client, folder)
    declared = (
        counted(len(client.registry.public()), "API"),
        counted(len(client.listeners), "listener"),
        counted(len(client.all_schedules()), "schedule"),
    )
    return Check("imports", f"{', '.join(names)}: {', '.join(declared)}", problems)


def _files(manifest: Manifest, client: BusClient) -> Check:
    """See whether a process may open as many connections as it needs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    streams = sum(len({api for api, _ in it.events}) for it in client.listeners.values())
    needed = _OTHER_FILES + len(names_of_apis(manifest, client)) + streams
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return Check("files", f"a process may open {limit:,}, and needs about {needed:,}")
    what = (
        f"a process may open {limit:,} files, and needs about {needed:,}, since each API and listener has a "
        f"connection: those beyond fail; allow more, as by ulimit -n {max(1024, needed)} or by LimitNOFILE= "
        "of systemd"
    )
    return Check("files", f"too few: {limit:,}", [Problem(Place(""), "", what, "warning")])


async def _brokers(manifest: Manifest, client: BusClient) -> list[Check]:
    use_brokers(manifest, client)
    try:
        found = await broker_problems(manifest, client, "error", in_detail=True)
        lacking = [problem for problem in found if problem.topic == "permission"]
        others = [problem for problem in found if problem.topic != "permission"]
        checks = [Check("redis", await _about(client), others)]
        if any(problem.topic in ("away", "setting") for problem in others):
            return [*checks, *_skipped(_NAMES[4:], "needs a Redis that answers"), _versions(None)]
        allowed = "Redis allows all that is needed" if not lacking else "Redis does not allow all"
        checks.append(Check("permissions", allowed, lacking))
        clocks = await clock_problems(manifest, client)
        told = "those of this host and of Redis agree" if not clocks else "they differ"
        checks.append(Check("clocks", told, clocks))
        checks.append(_events(client, await unknown_events(manifest, client)))
        return [*checks, *await _at_work(manifest, client)]
    finally:
        await client.close_async()


async def _about(client: BusClient) -> str:
    """Describe each broker that answers, once."""
    transports = {transport.address: transport for _, transport, _ in client.transports().in_use()}
    told = []
    for address, transport in transports.items():
        try:
            async with asyncio.timeout(_PATIENCE):
                told.append(await transport.about())
        except (TimeoutError, LightbusException):
            told.append(f"{address}: no answer")
    return "; ".join(told)


def _events(client: BusClient, doubts: Sequence[Problem]) -> Check:
    listeners = counted(len(client.listeners), "listener")
    known = len(client.parts.contracts.on_bus())
    told = f"of {listeners}, by {counted(known, 'contract')} on the bus"
    return Check("events", told, doubts)


async def _at_work(manifest: Manifest, client: BusClient) -> list[Check]:
    """Look at what waits on the bus, and who is there."""
    names = names_of_apis(manifest, client)
    try:
        async with asyncio.timeout(_PATIENCE):
            groups = await groups_of(client.parts, [(name, "*") for name in names])
            seen = await overview(client, names, {}, groups=groups)
    except (TimeoutError, LightbusException) as e:
        said = str(e) or "Redis did not answer in time"
        problem = Problem(Place(""), "", f"the groups and calls can't be seen: {said}", "warning")
        return [Check("groups", "not seen", [problem]), *_skipped(["apis"], "not seen"), _versions(None)]
    stale = [*await unserved_groups(manifest, client, imports=True), *await _paused(client, groups)]
    return [_groups(client, groups, stale), _apis(manifest, client, seen), _versions(seen)]


async def _paused(client: BusClient, groups: Sequence[GroupStatus]) -> list[Problem]:
    """Tell which listeners of the service are paused."""
    names = {each.group for each in groups if belongs(each, client.service_name)}
    try:
        paused = await paused_groups(client, names)
    except LightbusException as e:
        return [Problem(Place(""), "", str(e), "note")]
    told = "the listener {} is {}; it takes nothing until lightbus resume {}".format
    return [
        Problem(Place(""), "", told(name, pause.in_words(), quote(name)), "warning")
        for name, pause in sorted(paused.items())
    ]


def _groups(client: BusClient, groups: Sequence[GroupStatus], stale: Sequence[Problem]) -> Check:
    problems = list(stale)
    ours = [each for each in groups if belongs(each, client.service_name)]
    for status in ours:
        if status.gone:
            problems.append(Problem(Place(""), "", f"{loss(status)}; stop what trims it", "warning", "data"))
        if status.dead:
            what = (
                f"{counted(status.dead, 'dead letter')} of {status.group}, which are kept until somebody "
                f"acts; see why with lightbus dlq list --listener {status.group}, then replay or drop them"
            )
            problems.append(Problem(Place(""), "", what, "warning"))
    waiting = sum(status.waiting for status in ours)
    return Check("groups", f"{counted(len(ours), 'group')}, {counted(waiting, 'event')} waiting", problems)


def _apis(manifest: Manifest, client: BusClient, seen: Overview) -> Check:
    problems = []
    for api in seen.apis:
        owners = {process.service for process in seen.processes if api.name in process.owns}
        others = sorted(owners - {client.service_name})
        if others and is_ours(manifest, client, api.name):
            problems.append(Problem(Place(""), "", taken(client.parts, api.name, others[0])))
        elif api.waiting and not (api.processes or api.is_1x):
            what = (
                f"{counted(api.waiting, 'call')} of {api.name} "
                f"{'waits' if api.waiting == 1 else 'wait'}, and no process serves it; start "
                f"{f'the service {api.owner}' if api.owner else 'the service that owns it'}"
            )
            problems.append(Problem(Place(""), "", what, "warning"))
    served = sum(1 for api in seen.apis if api.processes)
    return Check("apis", f"{counted(len(seen.apis), 'API')}, {served} served now", problems)


def _versions(seen: Overview | None) -> Check:
    """Tell the versions here, and who on the bus is of another one, as far as that is known."""
    names = versions()
    told = ", ".join(f"{name} {names[name]}" for name in ("lightbus", "python", "redis"))
    old = [f"the API {api.name}" for api in seen.apis if api.is_1x] if seen is not None else []
    old += (
        [f"the process {p.name}" for p in seen.processes if p.state == "unknown"] if seen is not None else []
    )
    if not old:
        return Check("versions", told)
    what = (
        f"there is a Lightbus 1.x on this bus ({first_of(old, _LISTED)}), which trims streams without regard "
        "for groups; update it when you can"
    )
    return Check("versions", told, [Problem(Place(""), "", what, "note")])
