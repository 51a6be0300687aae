"""A manifest once it is read: frozen records that are also the one list of its keys.

A field made by :func:`lightbus.options.option` is a key; validation, JSON Schema and reference follow
from it. The other fields hold what loading found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NewType

from lightbus.declared.listener import ListenerOptions
from lightbus.declared.policy import DeliveryPolicy
from lightbus.declared.schedule import ScheduleOptions
from lightbus.declared.settings import (
    FEATURES,
    ApiSettings,
    ChosenTransport,
    Feature,
    OutboxOptions,
    ResultTransport,
    SchemaTransport,
)
from lightbus.options import Duration, option
from lightbus.transports.redis.options import BusRedisOptions, RedisOptions

from .problems import Place, Problem
from .text.nodes import Node

#: The address at which a server listens, as ``host:port``.
ListenAddress = NewType("ListenAddress", str)
#: A Python module as ``package.module``.
ModuleName = NewType("ModuleName", str)
#: An API, or one procedure of it.
CallName = NewType("CallName", str)
#: A name by which a browser reaches a server.
HostName = NewType("HostName", str)
#: An address, or a network of them, such as ``10.0.0.0/8``.
Network = NewType("Network", str)
#: The name of a header.
HeaderName = NewType("HeaderName", str)
#: The path beneath which a server's pages lie, such as ``/bus``; empty for the top.
RootPath = NewType("RootPath", str)
#: A field whose values are hidden: its name, or its path.
MaskedField = NewType("MaskedField", str)
#: Whether there is Django, or its settings module.
DjangoSettings = bool | ModuleName
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["text", "json"]
#: What somebody may do by the console besides looking.
Permission = Literal[
    "call",
    "fire",
    "replay",
    "drop",
    "edit",
    "run_schedule",
    "pause",
    "seek",
    "move",
    "remove",
    "reveal",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRecord(ApiSettings):
    """All that is configured for one API, with what lies beneath already merged."""

    redis: RedisOptions = option(
        factory=RedisOptions, description="The Redis of this API, for all of its transports."
    )
    result_transport: ResultTransport = option(
        ResultTransport(ChosenTransport()),
        "How its answers travel; connection options that are left out are those of rpc_transport.",
    )
    name: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractOptions:
    """How contracts are published."""

    human_readable: bool = option(True, "Whether published contracts are indented.")
    ttl: Duration = option(
        Duration(60), "After how long the contract of an absent owner is forgotten.", minimum=1
    )
    transport: SchemaTransport = option(
        SchemaTransport(ChosenTransport()),
        "Where contracts are published: one transport's name, with its options.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """The options of the whole process."""

    log_level: LogLevel = option("info", "The least severe log lines that are written.")
    log_format: LogFormat | None = option(
        None, "How log lines look; left out, text on a terminal and json elsewhere."
    )
    drain_timeout: Duration = option(
        Duration(25), "How long work that runs may take to finish after SIGTERM.", minimum=0
    )
    redis: BusRedisOptions = option(
        factory=BusRedisOptions, description="The options that every Redis transport starts from."
    )
    schema: ContractOptions = option(factory=ContractOptions, description="How contracts are published.")
    expose_tracebacks: bool = option(
        False, "Whether callers get the traceback of a procedure that raised; it shows your code."
    )
    remote_control: bool = option(
        False, "Whether people who may call over the bus may have this service's schedules run now."
    )


@dataclass(frozen=True, slots=True)
class Policy(DeliveryPolicy):
    """A delivery policy as the manifest writes it."""

    extends: str | None = option(None, "Another policy, which lies beneath this one.")
    #: Exception types as ``package.module:Name``, to be imported and added to ``give_up_on``.
    give_up_on_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Health and metrics by HTTP."""

    listen: ListenAddress | None = option(
        None,
        "Where to listen: host:port, or a port of 127.0.0.1; left out, nowhere. Of several processes, each "
        "takes the port after that of the one before.",
    )
    blocked_after: Duration = option(
        Duration(2), "How long one handler may block the event loop before /readyz says so.", minimum=0.5
    )
    dead_after: Duration = option(
        Duration(60), "How long the event loop may be blocked before /livez says so.", minimum=0.5
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TypesOptions:
    """The module of typed clients that ``lightbus types`` writes."""

    from_: str | None = option(
        None, "Where the contracts are: a file, a folder, or bus; left out, those on the bus now."
    )
    out: str | None = option(None, "The module to write, such as shop/bus_types.py; left out, it is printed.")
    apis: tuple[str, ...] = option((), "The APIs; left out, all that are there.")
    classes: Literal["dataclass", "typeddict"] = option(
        "dataclass", "How JSON objects look: results become objects of dataclasses, or stay as they are."
    )
    map: tuple[str, ...] = option(
        (), "Classes of yours in place of those that would be written: auth.User=shop.models:User."
    )
    own: bool = option(
        False, "Whether the APIs of the bus modules are taken from there, and their classes imported."
    )


def _by_name(description: str) -> Any:
    """Declare a key with a map whose keys are names that the user gives."""
    return option(factory=lambda: MappingProxyType({}), description=description)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """The console, which ``lightbus web`` serves."""

    listen: ListenAddress = option(
        ListenAddress("127.0.0.1:8098"), "Where lightbus web listens: host:port, or a port of 127.0.0.1."
    )
    hosts: tuple[HostName, ...] = option(
        (),
        "Names by which browsers reach it, beside those of this machine itself and the host of listen.",
    )
    auth: Literal["none", "token", "proxy"] = option(
        "none",
        "Who may look: everybody who reaches it, whoever has a token of token_file, or whom a proxy names.",
    )
    token_file: str | None = option(
        None,
        "The file of the tokens for auth: token. It has a line for each person: a name, their token, and "
        "maybe a role.",
    )
    user_header: HeaderName = option(
        HeaderName("X-Forwarded-User"), "The header in which the proxy names the user, for auth: proxy."
    )
    role_header: HeaderName | None = option(
        None,
        "The header in which the proxy names the user's role; left out, no header is believed. The proxy "
        "must set it or remove it itself.",
    )
    trusted_proxies: tuple[Network, ...] = option(
        (), "The addresses or networks of the proxies that are believed, such as 10.0.0.0/8."
    )
    root_path: RootPath = option(
        RootPath(""),
        "The path beneath which a proxy shows it, such as /bus; the proxy may strip it or not.",
    )
    allow: tuple[Permission, ...] = option(
        (), "What everybody may do who looks and has no role; left out, they may only look."
    )
    roles: Mapping[str, tuple[Permission, ...]] = _by_name(
        "What each role may do; who has a role may do nothing else, whatever allow says."
    )
    tail_rate: int = option(
        50,
        "The most events a second that are shown as they come; of others it is told how many there were.",
        minimum=2,
        maximum=1000,
    )
    refresh: Duration = option(
        Duration(5), "How often pages are renewed, and brokers asked at most, while anybody looks.", minimum=1
    )
    mask: tuple[MaskedField, ...] = option(
        (),
        "Fields whose values are hidden, beside those that contracts mark and names that look like secrets: "
        "a name such as email, or a path such as shop.placed.kwargs.address.*.",
    )
    bulk_limit: int = option(
        10_000, "The most dead letters that are replayed, dropped or exported at a time.", minimum=1
    )

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach it."""
        host = self.listen.rpartition(":")[0].strip("[]")
        return not (host in ("localhost", "::1") or host.startswith("127."))

    def contradiction(self) -> tuple[str, str] | None:
        """Return the key that can't be as it is beside the others, and why; None if all is well."""
        if self.auth == "none" and self.is_public:
            return "listen", (
                f"{self.listen} is reached from other machines, and auth: none asks nobody who they are; "
                "listen at 127.0.0.1, or give auth: token or auth: proxy"
            )
        if self.auth == "token" and not self.token_file:
            return "auth", "token needs token_file, which has a line for each person: a name and their token"
        if self.auth == "proxy" and not self.trusted_proxies:
            return "auth", "proxy needs trusted_proxies: the addresses from which user_header is believed"
        if self.token_file and self.auth != "token":
            return "token_file", f"means nothing with auth: {self.auth}; give auth: token"
        if self.role_header and self.auth != "proxy":
            return "role_header", f"means nothing with auth: {self.auth}; give auth: proxy"
        if self.trusted_proxies and self.auth != "proxy":
            return "trusted_proxies", f"means nothing with auth: {self.auth}; give auth: proxy"
        return None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Manifest:
    """The manifest of one process."""

    include: tuple[str, ...] = option(
        (), "Files, folders and URLs that are merged beneath this file; paths start at its folder."
    )
    service_name: str | None = option(
        None,
        "The service; its consumer groups are {service_name}-{listener}. Left out, the first API it owns. "
        "Placeholders: {hostname} {pid} {random4} {random8} {random16} {friendly}.",
    )
    service_version: str | None = option(
        None,
        "The version of the application, which lightbus status shows; left out, that of the installed "
        "distribution which has the name of the first bus module's package.",
    )
    process_name: str = option(
        "{hostname}-{pid}", "The process, with the same placeholders; it must differ between processes."
    )
    modules: tuple[ModuleName, ...] = option((ModuleName("bus"),), "The bus modules to import.")
    django: DjangoSettings = option(
        False,
        "Whether to set Django up before bus modules are imported: true, or the settings module to use where "
        "DJANGO_SETTINGS_MODULE names none.",
    )
    features: tuple[Feature, ...] = option(FEATURES, "What this process does.")
    event_loop: Literal["uvloop", "asyncio"] | None = option(
        None, "Which event loop runs it; left out, uvloop if it is installed."
    )
    processes: int = option(1, "How many processes host this manifest.", minimum=1, maximum=1024)
    bus: BusOptions = option(factory=BusOptions, description="The options of the whole process.")
    apis: Mapping[str, ApiRecord] = _by_name(
        "The APIs that it serves, calls or listens to, by name; default lies beneath each."
    )
    calls: tuple[CallName, ...] = option(
        (),
        "The APIs of others that this service calls, or single procedures of them: auth, shop.orders.place.",
    )
    strict_calls: bool = option(False, "Whether calls that are not in calls are refused where they are made.")
    policies: Mapping[str, Policy] = _by_name(
        "Retry policies: the attempts, the waits between them, and the end."
    )
    listeners: Mapping[str, ListenerOptions] = _by_name("The functions that handle events.")
    schedules: Mapping[str, ScheduleOptions] = _by_name("The functions that are called at set times.")
    plugins: Mapping[str, Any] = _by_name("The options of plugins, by name.")
    outbox: OutboxOptions = option(
        factory=OutboxOptions, description="The outboxes whose events this service sends, and how."
    )
    http: HttpOptions = option(factory=HttpOptions, description="Health and metrics by HTTP.")
    web: WebOptions = option(factory=WebOptions, description="The console, which lightbus web serves.")
    types: TypesOptions = option(
        factory=TypesOptions, description="The module of typed clients; its paths start where commands run."
    )

    default_api: ApiRecord = field(default_factory=ApiRecord)
    #: Whether the code is meant to import :attr:`modules`, or they are only the default.
    modules_given: bool = False
    #: Whether some URL or Sentinel of a Redis was given anywhere.
    redis_configured: bool = False
    #: Warnings, and notes about keys whose meaning is not that of Lightbus 1.x.
    notes: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def all_apis(self) -> list[str]:
        """The names of all APIs, ``default`` first: by these, each broker is reached."""
        return ["default", *self.apis]

    #: The files and URLs that were read, the weakest first.
    sources: tuple[str, ...] = field(default=(), compare=False)
    #: The values as they were written, with everything merged.
    tree: Node | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return (
            f"<Manifest of {self.service_name!r}: {len(self.apis)} APIs, {len(self.listeners)} listeners, "
            f"{len(self.schedules)} schedules>"
        )

    def api(self, name: str) -> ApiRecord:
        """Return what holds for an API, listed or not."""
        return self.apis.get(name) or replace(self.default_api, name=name)

    def origin(self, path: str) -> Place | None:
        """Return where a value was written.

        Args:
            path: The keys with dots between them, such as ``apis.auth.owner``.

        Returns:
            Its place, or None where it is a default.
        """
        node = self.tree.find(path) if self.tree else None
        return node.place if node else None
