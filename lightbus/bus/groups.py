"""The groups of listeners on the bus: whose they are, and what to tell of those that nobody reads."""

from __future__ import annotations

from collections.abc import Container, Iterable

from lightbus.transports.events import EventTransport, GroupStatus
from lightbus.transports.unserved import consequence, remedy, state, whose

from .parts import Parts


async def groups_of(parts: Parts, api_names: Iterable[str]) -> list[GroupStatus]:
    """Ask the brokers how far the groups are that read the events of some APIs.

    Raises:
        TransportUnavailable: A broker can't be reached, or refuses.
    """
    asked: dict[EventTransport, list[tuple[str, str]]] = {}
    for api_name in sorted(api_names):
        events = asked.setdefault(parts.transports().event(api_name), [])
        events += [(api_name, name) for name in (*_event_names(parts, api_name), "*")]
    found = {}
    for transport, events in asked.items():
        for status in await transport.group_status(events):
            # Transports that differ in an option may be of one broker.
            found[transport.address, status.stream, status.group] = status
    return list(found.values())


def what_to_tell(status: GroupStatus, service: str, listeners: Container[str], where: str) -> str | None:
    """Return what to tell of a group that nobody reads; None where that is as it should be.

    Args:
        status: The group.
        service: The service that is told.
        listeners: The names of its listeners, as far as they are known.
        where: In what they are not, where they are not known.
    """
    if belongs(status, service):
        if status.group.removeprefix(f"{service}-") in listeners:
            return None  # It is going to be read.
        start = f"{whose(status)} has no listener {where}: {state(status)}"
    elif status.limit is not None and 2 * status.waiting >= status.limit:
        start = f"{whose(status)} is far behind: {state(status)}"
    else:
        return None
    if not status.waiting:
        return f"{start}; {status.stream} keeps what is fired from now on for it; {remedy(status)}"
    return f"{start}; {consequence(status)}; {remedy(status)}"


def belongs(status: GroupStatus, service: str) -> bool:
    """Tell whether a group is a service's; where the broker does not know that, by its name."""
    if status.service:
        return status.service == service
    return bool(service) and status.group.startswith(f"{service}-")


def _event_names(parts: Parts, api_name: str) -> Iterable[str]:
    definition = parts.registry.find(api_name)
    if definition is not None:
        return definition.events
    contract = parts.contracts.get(api_name) or {}
    return tuple(contract.get("events", ()))
