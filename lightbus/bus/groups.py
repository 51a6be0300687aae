"""The groups of listeners on the bus: their services, and warnings about groups without a reader."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from lightbus.transports.events import EventTransport, GroupStatus
from lightbus.transports.unserved import consequence, remedy, state, to_move, whose

from .parts import Parts


async def groups_of(parts: Parts, events: Iterable[tuple[str, str]]) -> list[GroupStatus]:
    """Ask the brokers how far the groups are that read the streams of some events.

    Args:
        parts: The bus.
        events: Pairs of API and event name; ``*`` as event stands for all of an API's.

    Raises:
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    asked: dict[EventTransport, list[tuple[str, str]]] = {}
    for api_name, event_name in sorted(events):
        names = (*_event_names(parts, api_name), "*") if event_name == "*" else (event_name,)
        of_broker = asked.setdefault(parts.transports().event(api_name), [])
        of_broker += [(api_name, name) for name in names]
    found = {}
    for transport, wanted in asked.items():
        for status in await transport.group_status(wanted):
            # Transports that differ in an option may share a broker: each group counts once.
            found[transport.address, status.stream, status.group] = status
    return list(found.values())


async def heirs_of(
    parts: Parts, status: GroupStatus, listeners: Mapping[str, Iterable[tuple[str, str]]]
) -> list[str]:
    """Return the groups to which a group may be moved: those of listeners of its service on its stream.

    Args:
        parts: The bus.
        status: The group.
        listeners: The events of each listener of the service.

    Raises:
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    heirs = []
    for name, events in listeners.items():
        on_its_streams = await groups_of(parts, events)
        if any((each.group, each.stream) == (status.group, status.stream) for each in on_its_streams):
            heirs.append(f"{status.service or parts.identity.service_name}-{name}")
    return [heir for heir in heirs if heir != status.group]


def what_to_tell(
    status: GroupStatus, service: str, listeners: Container[str], where: str, heirs: Sequence[str] = ()
) -> str | None:
    """Return the warning about a group without a reader; None if that is as it should be.

    Args:
        status: The group.
        service: The service that is warned.
        listeners: The names of its known listeners.
        where: The place that lacks a listener, in words such as "in this process".
        heirs: The groups to which it may be moved.
    """
    if belongs(status, service):
        if status.group.removeprefix(f"{service}-") in listeners:
            return None  # It is going to be read.
        start = f"{whose(status)} has no listener {where}: {state(status)}"
    elif status.limit is not None and 2 * status.waiting >= status.limit:
        start = f"{whose(status)} is far behind: {state(status)}"
    else:
        return None
    helps = remedy(status, to_move(status, heirs))
    if not status.waiting:
        return f"{start}; {status.stream} keeps all new events for it; {helps}"
    return f"{start}; {consequence(status)}; {helps}"


def belongs(status: GroupStatus, service: str) -> bool:
    """Tell whether a group belongs to a service; the group's name decides if the broker does not know."""
    if status.service:
        return status.service == service
    return bool(service) and status.group.startswith(f"{service}-")


def _event_names(parts: Parts, api_name: str) -> Iterable[str]:
    definition = parts.registry.find(api_name)
    if definition is not None:
        return definition.events
    contract = parts.contracts.get(api_name) or {}
    return tuple(contract.get("events", ()))
