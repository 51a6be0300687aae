"""The settings of one bus, and of each API that it uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NewType, get_args

from lightbus.options import Duration, option

#: The work that a process may do; it does all of it unless it is told otherwise.
Feature = Literal["rpcs", "events", "tasks", "outbox"]
FEATURES: tuple[Feature, ...] = get_args(Feature)
#: The beginning of the APIs by which hosts are told to do something; the service follows.
CONTROL = "internal.host."


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """The messages that are checked against the contract."""

    incoming: bool = option(True, "Check calls, answers and events that arrive.")
    outgoing: bool = option(True, "Check calls, answers and events before they are sent.")


@dataclass(frozen=True, slots=True)
class ChosenTransport:
    """A transport by its entry point's name.

    Args:
        name: The entry point's name.
        options: An object of the class that it has as ``options``; None for its defaults.
    """

    name: str = "redis"
    options: Any = None

    def __str__(self) -> str:
        address = getattr(self.options, "address", "")
        return f"{self.name} at {address}" if address else self.name


#: Django's name of a database.
DatabaseAlias = NewType("DatabaseAlias", str)
#: An engine of SQLAlchemy's as ``package.module:name``.
EngineName = NewType("EngineName", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxOptions:
    """The outboxes whose events this service sends, and how."""

    django: tuple[DatabaseAlias, ...] = option(
        (), "The databases of Django whose outboxes it relays: default, or a list of names."
    )
    sqlalchemy: tuple[EngineName, ...] = option(
        (),
        "The engines of SQLAlchemy whose outboxes it relays: shop.db:engine, or a list of such names.",
    )
    batch: int = option(
        500, "The most events that are sent in one transaction of the database.", minimum=1, maximum=10_000
    )
    poll: Duration = option(
        Duration(1),
        "How long the relay waits before it looks for more, after it found nothing.",
        minimum=0.01,
    )
    notify: bool = option(
        False,
        "Whether whoever writes an event wakes the relay, by NOTIFY of PostgreSQL, in place of poll.",
    )
    dedupe: Duration = option(
        Duration(3600),
        "For how long Redis remembers the ids of events, so that one that is sent again is stored once.",
        minimum=1,
    )
    partitions: int = option(
        1,
        "How many relays may send at a time; the events of one key are always one relay's.",
        minimum=1,
        maximum=12,
    )
    keep: Duration = option(
        Duration(0),
        "How long rows stay after they were sent, counted from when they were written.",
        minimum=0,
    )

    @property
    def names(self) -> list[str]:
        """The names of the outboxes, as commands, logs and metrics have them."""
        return [
            *(f"django:{alias}" for alias in self.django),
            *(f"sqlalchemy:{name}" for name in self.sqlalchemy),
        ]


#: A choice for each kind of transport: the manifest offers those of that kind.
RpcTransport = NewType("RpcTransport", ChosenTransport)
EventTransport = NewType("EventTransport", ChosenTransport)
ResultTransport = NewType("ResultTransport", ChosenTransport)
SchemaTransport = NewType("SchemaTransport", ChosenTransport)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """How a process calls, serves and listens to one API."""

    owner: str | None = option(None, "The one service that answers this API's calls and fires its events.")
    rpc_timeout: Duration = option(Duration(5), "How long a caller waits for an answer.", minimum=0.001)
    event_fire_timeout: Duration = option(
        Duration(5), "How long firing waits for the broker to confirm.", minimum=0.001
    )
    event_listener_setup_timeout: Duration = option(
        Duration(1), "How long starting a listener may take before a warning says so.", minimum=0.001
    )
    rpc_concurrency: int = option(
        100, "How many calls of this API one process runs at a time.", minimum=1, maximum=10_000
    )
    validate: ValidateOptions = option(
        factory=ValidateOptions, description="Whether messages are checked against the contract."
    )
    strict_validation: bool = option(
        False, "Whether a message of an API without a known contract is an error."
    )
    outbox: Literal["required"] | None = option(
        None, "Whether its events may be fired by way of an outbox only: required; left out, they need not."
    )
    cast_values: bool = option(True, "Whether arguments become the types of the handler's hints.")
    #: The options of its Redis, where a manifest has them: it knows transports, this room does not.
    redis: Any = None
    rpc_transport: RpcTransport = option(
        RpcTransport(ChosenTransport()), "How its calls travel: one transport's name, with its options."
    )
    event_transport: EventTransport = option(
        EventTransport(ChosenTransport()), "How its events travel: one transport's name, with its options."
    )


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything that is configured for one bus.

    Args:
        identity: The service and process.
        api: Returns what holds for an API, by name.
        schema_transport: The transport of contracts.
        schema_ttl: Seconds after which the contract of an absent owner is forgotten.
        schema_human_readable: Whether published contracts are indented.
        expose_tracebacks: Whether callers get the traceback of a procedure that raised.
        drain_timeout: Seconds that running work may take to finish at the end.
        origin: Returns where the manifest says something, by its path, as ``file:line:column``; or nothing.
        api_names: The APIs that the manifest names.
        find_version: Returns the version of the application; None where it is not known.
        only_calls: The only APIs and procedures that may be called besides its own; None if all may.
        outbox_notifies: Whether whoever writes into an outbox wakes its relay.
        patience: Seconds for which what is sent waits while a broker is away; None for as long as that takes.
    """

    identity: Identity
    api: Callable[[str], ApiSettings]
    schema_transport: ChosenTransport
    schema_ttl: float
    schema_human_readable: bool
    expose_tracebacks: bool
    drain_timeout: float
    origin: Callable[[str], str]
    api_names: tuple[str, ...]
    find_version: Callable[[], str | None] = lambda: None
    only_calls: frozenset[str] | None = None
    outbox_notifies: bool = False
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """The service and process at this end of the bus.

    Args:
        service_name: Shared by all processes of a deployable; names the consumer groups.
        process_name: Unique among the processes of a service.
    """

    service_name: str
    process_name: str

    @property
    def control_api(self) -> str:
        """The API by which hosts of the service are told to do something, where they allow that."""
        return f"{CONTROL}{self.service_name}"
