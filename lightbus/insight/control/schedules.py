"""Running a schedule now, by way of a host of its service that lets itself be told; and pausing it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from lightbus.bus.client import BusClient
from lightbus.declared.names import advice
from lightbus.declared.settings import Identity
from lightbus.exceptions import LightbusTimeout, NoWorker, ScheduleRefused, WorkerLost
from lightbus.insight.audit import Actor, acting
from lightbus.insight.cards import Heeded, read_all_pauses, read_cards, schedule_heeded, schedule_on
from lightbus.transports.cards import Card, Pause

from .pauses import pausing

#: Seconds that a host has to say that a run has begun.
_PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a schedule by hand.

    Args:
        service: The service.
        name: The schedule.
        process: The process that runs it.
        started: When it began, as a Unix time.
        seconds: How long it took; None while it goes on.
        outcome: Its outcome: ``ok`` or ``error``; None while it goes on.
        error: The exception that it raised, in words; empty if it raised none.
    """

    service: str
    name: str
    process: str
    started: float
    seconds: float | None = None
    outcome: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A schedule that is to be paused or to go on.

    Args:
        service: Its service.
        name: Its name.
        pause: The pause that holds now.
    """

    service: str
    name: str
    pause: Pause | None = None

    def __str__(self) -> str:
        """Return its service and its name."""
        return f"{self.service}:{self.name}"


async def service_of(client: BusClient, name: str, own: Iterable[str] = (), service: str = "") -> str:
    """Return the service that has a schedule and hosts that let themselves be told to run it.

    Args:
        client: The bus.
        name: The schedule.
        own: The schedules of the manifest, which belong to the own service.
        service: The service that is meant; left out, the one that has such a schedule, the own one first.

    Raises:
        ScheduleRefused: There is none, or several, or its hosts do not let themselves be told.
        TransportUnavailable: The broker of the contracts can't be reached.
    """
    hosts = [card for card in await read_cards(client) if card.kind == "host"]
    meant = _meant(name, hosts, own, service, client.service_name)
    if not any(card.remote_control for card in hosts if card.service == meant):
        raise ScheduleRefused(
            f"the service {meant} lets nobody run its schedules from elsewhere; write bus.remote_control: "
            "true into its manifest, and start it again"
        )
    return meant


async def find(client: BusClient, name: str, own: Iterable[str] = (), service: str = "") -> Target:
    """Find a schedule that is to be paused or to go on, also where no process of its service is alive.

    Args:
        client: The bus.
        name: The schedule.
        own: The schedules of the manifest, which belong to the own service.
        service: The service that is meant; left out, the one that has such a schedule, the own one first.

    Raises:
        ScheduleRefused: There is none, or several.
        TransportError: The broker of the contracts refuses to have pauses read.
        TransportUnavailable: It can't be reached.
    """
    hosts = [card for card in await read_cards(client) if card.kind == "host"]
    ours = client.service_name
    pauses = (await read_all_pauses(client, {service or ours, ours, *(c.service for c in hosts)})).schedules
    others = {each for each, paused in pauses if paused == name} | ({ours} if name in own else set())
    found = _meant(name, hosts, own, service, ours, others)
    return Target(found, name, pauses.get((found, name)))


async def pause(client: BusClient, target: Target, until: float | None, by: Actor) -> Heeded:
    """Pause a schedule, and wait until its processes begin no run of it by themselves.

    Takes what :func:`.pauses.pause` takes, and raises what that raises.
    """
    async with pausing(client, "schedule.pause", str(target), target.pause, until, by) as it:
        await client.transports().schema().pause_schedule(target.service, target.name, it)
    return await schedule_heeded(client, target.service, target.name, is_paused=True)


async def resume(client: BusClient, target: Target, by: Actor) -> Heeded:
    """Let a schedule run again at its times, and wait until its processes do; raises as :func:`pause`.

    Raises:
        ScheduleRefused: It is not paused.
    """
    if target.pause is None:
        raise ScheduleRefused(f"the schedule {target.name} of {target.service} is not paused")
    schema = client.transports().schema()
    async with acting(client, by, "schedule.resume", str(target)):
        # Its end is kept: a process that starts later makes up for no time within it.
        ended = replace(target.pause, until=await schema.now())
        await schema.pause_schedule(target.service, target.name, ended)
    return await schedule_heeded(client, target.service, target.name, is_paused=False)


async def run_now(client: BusClient, service: str, name: str, *, by: Actor, wait: float | None = None) -> Run:
    """Have one process of a service run a schedule once.

    Args:
        client: The bus.
        service: The service.
        name: The schedule.
        by: Whoever wants it: the process, its card and the audit say so.
        wait: The most seconds to wait for the end of the run; None for its beginning alone.

    Raises:
        AuditRefused: It can't be noted, and ``by`` does not say that it is to be done all the same.
        ScheduleRefused: It still runs and may not overlap, or no process answers.
        LightbusTimeout: It goes on for longer than that.
        WorkerLost: The process died meanwhile; nothing is known of the outcome.
    """
    target = f"{service}:{name}"
    api = Identity(service, "").control_api
    given = {"name": name, "by": by.user, "wait": wait is not None}
    async with acting(client, by, "schedule.run", target) as doing:
        try:
            timeout = {"timeout": _PATIENCE if wait is None else wait}
            told = await client.call_rpc_remote(api, "run_schedule", given, timeout)
        except NoWorker:
            raise ScheduleRefused(
                f"no process of {service} runs {name} now, since none that has bus.remote_control is alive"
            ) from None
        except LightbusTimeout as e:
            raise _late(e, service, name, wait) from None
        except WorkerLost as e:
            raise WorkerLost(
                f"the process of {service} that ran {name} died in the middle of it, so that its outcome is "
                "not known; it may have had effects"
            ) from e
        if told.get("refused"):
            raise ScheduleRefused(f"{name} is not run by {told['process']}: {told['refused']}")
        doing.did(told["process"])
    kept = {each: told.get(each) for each in ("seconds", "outcome")}
    return Run(service, name, told["process"], told["started"], error=told.get("error") or "", **kept)


def _meant(
    name: str,
    hosts: Sequence[Card],
    own: Iterable[str],
    service: str,
    ours: str,
    others: Collection[str] = (),
) -> str:
    """Return the service that is meant, of those whose hosts have such a schedule, and of others."""
    having = {card.service for card in hosts if schedule_on(card, card.service, name) is not None} | {*others}
    meant = [each for each in having if each == (service or ours)]
    meant = meant or sorted(each for each in having if not service)
    if len(meant) > 1:
        raise ScheduleRefused(
            f"several services have a schedule {name!r}: {' and '.join(meant)}; say which one by --service"
        )
    if not meant:
        raise ScheduleRefused(_not_there(name, hosts, own, service, ours))
    return meant[0]


def _late(error: LightbusTimeout, service: str, name: str, wait: float | None) -> LightbusTimeout:
    if error.executed == "no":
        return LightbusTimeout(f"{name} was not run: no process of {service} is free to take the wish", "no")
    after = f"after {_PATIENCE if wait is None else wait:g} s"
    return LightbusTimeout(
        f"nothing is known of the end of {name} {after}: it may still run; lightbus schedule list shows it",
        error.executed,
    )


def _not_there(name: str, hosts: Sequence[Card], own: Iterable[str], service: str, ours: str) -> str:
    """Say why a schedule can't be found, and which one may be meant."""
    if name in own and service in ("", ours):
        return f"no process of {ours} is alive that runs {name}; start one with lightbus run"
    if service and not any(card.service == service for card in hosts):
        known = {card.service for card in hosts}
        return f"no process of the service {service!r} is alive{advice(service, known, 'there are')}"
    known = {it.name for card in hosts for it in card.schedules if service in ("", card.service)}
    known |= set(own) if service in ("", ours) else set()
    of = f"the service {service!r} has" if service else "there is"
    return f"{of} no schedule {name!r}{advice(name, known, 'there are')}"
