"""Every public name of Lightbus 1.x that is elsewhere or gone, with what to write instead.

Names that are where they were stand nowhere here. The page ``docs/names-of-1x.md`` is written from this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class OldName:
    """A name of 1.x.

    Args:
        place: The full name of the object that it stands for; None for a name that is gone.
        instead: What to write instead, as a part of a sentence.
    """

    place: str | None
    instead: str


def _now(place: str) -> OldName:
    return OldName(place, f"write {place}")


def _gone(instead: str) -> OldName:
    return OldName(None, instead)


#: What else was in a module of which something is left.
INNER: Final = _gone("it was internal to 1.x")
#: Exceptions by today's name for what they were raised for.
RENAMED: Final = {
    "CannotBlockHere": "SyncCallOnEventLoop",
    "DeformError": "ValidationError",
    "InvalidApiEventConfiguration": "InvalidName",
    "InvalidEventListener": "InvalidListener",
    "InvalidSchema": "InvalidMessage",
    "NoBusFoundInBusModule": "FailedToImportBusModule",
    "NothingToListenFor": "InvalidListener",
    "RemoteSchemasNotLoaded": "SyncCallOnEventLoop",
    "TransportIsClosed": "BusAlreadyClosed",
    "TransportPoolIsClosed": "BusAlreadyClosed",
    "UnexpectedConfigurationFormat": "ManifestError",
    "UnsupportedUse": "ConfigurationError",
}
#: Exceptions that nothing raises now; most of them nothing raised in 1.3 either.
UNRAISED: Final = (
    "ApisMustUseSameTransport",
    "AsyncFunctionOrMethodRequired",
    "CannotShrinkEmptyPool",
    "DatabaseConnectionRequired",
    "DuplicateMessage",
    "InvalidApiForSchemaCreation",
    "InvalidApiRegistryEntry",
    "InvalidBusPathConfiguration",
    "InvalidPlugins",
    "InvalidSerializerConfiguration",
    "LightbusExit",
    "LightbusServerMustStartInMainThread",
    "LightbusShutdownInProgress",
    "ListenersAlreadyStarted",
    "MustNotRunInBusThread",
    "MustRunInBusThread",
    "NoApisSpecified",
    "NoApisToListenOn",
    "NoResponseSchemaFound",
    "NoTransportConfigured",
    "OnlyAvailableOnRootNode",
    "PluginHookNotFound",
    "PluginsNotLoaded",
    "PoolProxyError",
    "SuddenDeathException",
    "TooManyTransportsForApi",
    "TransportsNotInstalled",
    "UnsupportedOptionValue",
)
POOL_ERRORS: Final = ("CannotProxyPrivateMethod", "CannotProxyProperty", "CannotProxySynchronousMethod")
#: Exceptions that 1.x also had at the top, and that are in ``lightbus.exceptions`` as they were.
_EXCEPTIONS: Final = (
    "BusAlreadyClosed",
    "DuplicateListenerName",
    "EventNotFound",
    "FailedToImportBusModule",
    "InvalidEventArguments",
    "InvalidMessage",
    "InvalidName",
    "InvalidParameters",
    "InvalidSchedule",
    "LightbusTimeout",
    "LightbusWorkerError",
    "MisconfiguredApiOptions",
    "SchemaNotFound",
    "TransportNotFound",
    "UnknownApi",
    "ValidationError",
)

_VALUES: Final = "lightbus.declared.old_names.values"
_TRANSPORT: Final = _gone(
    "name the transport in the configuration, such as event_transport: {redis: {...}}; one of your own "
    "derives from those of lightbus.transports.base"
)
_CONFIG: Final = _gone("hand the file or the mapping to lightbus.create(config)")
_REGISTRY: Final = _gone("register APIs with bus.client.register_api(), or only define them")
_PLUGINS: Final = _gone("derive from lightbus.LightbusPlugin; the manifest or create(plugins=[...]) loads it")
_CONTRACT: Final = _gone("bus.schema.get(api_name) returns the contract of an API")
_BLOCK: Final = _gone("await the coroutine, or run it by asyncio.run()")
_FEATURE: Final = "write 'rpcs', 'events' or 'tasks', the texts themselves"
_LOGGING: Final = OldName(
    f"{_VALUES}.configure_logging", "write logging.basicConfig(); lightbus run has a log of its own"
)
_MOCKS: Final = _gone("lightbus.testing.hosted() runs a whole bus in memory")
_WILDCARD: Final = _gone("name the event's parameters, or give it one parameter that is a dict")
_MODULE: Final = _gone("import the module as any other, or use lightbus.get_bus()")
_RESULTS: Final = _gone("results are a part of lightbus.transports.base.RpcTransport")
_SERIALIZERS: Final = {
    "base": ("MessageDeserializer", "MessageSerializer"),
    "blob": ("BlobMessageDeserializer", "BlobMessageSerializer"),
    "by_field": ("ByFieldMessageDeserializer", "ByFieldMessageSerializer"),
}

#: The modules that only 1.x had and of which something is left, each with its names.
_IN_MODULES: Final[dict[str, dict[str, OldName]]] = {
    "api": {
        **{name: _now(f"lightbus.{name}") for name in ("Api", "Event")},
        **dict.fromkeys(("ApiMetaclass", "ApiOptions", "ApiRegistry"), _REGISTRY),
    },
    "client": {"BusClient": _now("lightbus.BusClient")},
    "client.bus_client": {"BusClient": _now("lightbus.BusClient")},
    "client.utilities": {"OnError": _now("lightbus.OnError")},
    "config": {"Config": _CONFIG},
    "creation": {
        **{name: _now(f"lightbus.{name}") for name in ("create", "get_bus")},
        "create_client": _gone("write lightbus.create(...).client"),
        "import_bus_module": _MODULE,
        "load_config": _CONFIG,
    },
    "internal_apis": {
        name: _now(f"lightbus.plugins.internal_apis.{name}")
        for name in ("LightbusMetricsApi", "LightbusStateApi")
    },
    "message": {
        "Message": _now("lightbus.serializers.Message"),
        **{name: _now(f"lightbus.{name}") for name in ("EventMessage", "ResultMessage", "RpcMessage")},
    },
    "path": {"BusPath": _now("lightbus.BusPath")},
    "plugins.metrics": {"MetricsPlugin": _now("lightbus.plugins.internal_metrics.MetricsPlugin")},
    "plugins.state": {"StatePlugin": _now("lightbus.plugins.internal_state.StatePlugin")},
    "schema": {
        "Parameter": _now("lightbus.Parameter"),
        "Schema": _now("lightbus.bus.schema.BusSchema"),
        "WildcardParameter": _WILDCARD,
    },
    "schema.schema": {
        "Parameter": _now("lightbus.Parameter"),
        "Schema": _now("lightbus.bus.schema.BusSchema"),
        "WildcardParameter": _WILDCARD,
        "api_to_schema": _CONTRACT,
    },
    **{
        f"serializers.{name}": {each: _now(f"lightbus.serializers.{each}") for each in classes}
        for name, classes in _SERIALIZERS.items()
    },
    "utilities": {},
    "utilities.async_tools": {"block": _BLOCK},
    "utilities.django": {
        "uses_django_db": OldName(
            "lightbus.worker.django.uses_django_db",
            "write django: true into the manifest, which does it for every handler",
        )
    },
    "utilities.features": {
        name: OldName(f"{_VALUES}.{name}", _FEATURE) for name in ("ALL_FEATURES", "Feature")
    },
    "utilities.logging": {"configure_logging": _LOGGING},
    "utilities.testing": {
        **{name: _now(f"lightbus.testing.{name}") for name in ("BusMocker", "MockResult", "bus_mocker")},
        **dict.fromkeys(
            (
                "BusQueueMockerContext",
                "CommandList",
                "QueueMockContext",
                "make_test_event_transport",
                "make_test_result_transport",
                "make_test_rpc_transport",
                "make_test_schema_transport",
            ),
            _MOCKS,
        ),
    },
}

#: Modules that are gone with all that was in them, each with what to use instead.
INTERNAL: Final = {
    f"lightbus.{name}": instead
    for name, instead in {
        "client.commands": "hooks of bus.client see each message",
        "client.docks": "hooks of bus.client see each message",
        "client.internal_messaging": "hooks of bus.client see each message",
        "client.subclients": "bus.client has its methods",
        "client.validator": "bus.schema.validate_parameters() and validate_response() check values",
        "commands": "run the command lightbus, or python -m lightbus",
        "config.config": _CONFIG.instead,
        "config.structure": _CONFIG.instead,
        "hooks": "bus.client has a decorator for each hook",
        "log": "Python's logging has the messages, in the logger 'lightbus'",
        "schema.encoder": _CONTRACT.instead,
        "schema.hints_to_schema": _CONTRACT.instead,
        "transports.debug": _TRANSPORT.instead,
        "transports.pool": _TRANSPORT.instead,
        "transports.redis.event": _TRANSPORT.instead,
        "transports.redis.result": _TRANSPORT.instead,
        "transports.redis.utilities": _TRANSPORT.instead,
        "transports.registry": _TRANSPORT.instead,
        "utilities.casting": "values are converted by their hints where they arrive",
        "utilities.config": "a plugin's options are a frozen dataclass",
        "utilities.deforming": "values are converted where they are sent",
        "utilities.frozendict": "types.MappingProxyType is in Python itself",
        "utilities.human": INNER.instead,
        "utilities.importing": "importlib.import_module() is in Python itself",
        "utilities.internal_queue": "asyncio.Queue is in Python itself",
        "utilities.io": INNER.instead,
        "utilities.singledispatch": "functools.singledispatchmethod is in Python itself",
        "utilities.type_checks": INNER.instead,
    }.items()
}
MODULES: Final = frozenset(f"lightbus.{name}" for name in _IN_MODULES)

_OF_EXCEPTIONS: Final = {
    **{old: _now(f"lightbus.exceptions.{now}") for old, now in RENAMED.items()},
    **{
        old: OldName(f"{_VALUES}.{old}", "nothing raises it now, so leave it out")
        for old in (*UNRAISED, *POOL_ERRORS)
    },
}
_OVER_REDIS: Final = tuple(f"Redis{kind}Transport" for kind in ("Event", "Result", "Rpc", "Schema"))
_TRANSPORTS: Final = (
    "EventTransport",
    "ResultTransport",
    "RpcTransport",
    "SchemaTransport",
    "Transport",
    *(f"Debug{kind}Transport" for kind in ("Event", "Result", "Rpc", "Schema")),
    *_OVER_REDIS,
)
#: Every name of 1.x that is not where it was, by its full name.
NAMES: Final[dict[str, OldName]] = {
    **{f"lightbus.{name}": _now(f"lightbus.exceptions.{name}") for name in _EXCEPTIONS},
    **{f"lightbus.{name}": old for name, old in _OF_EXCEPTIONS.items()},
    "lightbus.Message": _now("lightbus.serializers.Message"),
    "lightbus.Schema": _now("lightbus.bus.schema.BusSchema"),
    "lightbus.WildcardParameter": _WILDCARD,
    "lightbus.configure_logging": _LOGGING,
    "lightbus.import_bus_module": _MODULE,
    "lightbus.load_config": _CONFIG,
    **{f"lightbus.{name}": _TRANSPORT for name in _TRANSPORTS},
    **{f"lightbus.exceptions.{name}": old for name, old in _OF_EXCEPTIONS.items()},
    **dict.fromkeys(
        (
            f"lightbus.plugins.{name}"
            for name in ("PluginMetaclass", "PluginRegistry", "find_plugins", "instantiate_plugin")
        ),
        _PLUGINS,
    ),
    "lightbus.serializers.InvalidSerializerConfiguration": _OF_EXCEPTIONS["InvalidSerializerConfiguration"],
    **dict.fromkeys(
        (f"lightbus.serializers.{name}" for name in ("decode_bytes", "json_encode", "sanity_check_metadata")),
        INNER,
    ),
    **{f"lightbus.transports.{name}": _TRANSPORT for name in _TRANSPORTS},
    "lightbus.transports.base.ResultTransport": _RESULTS,
    "lightbus.transports.base.TransportMetaclass": INNER,
    **{
        f"lightbus.transports.redis.{name}": _TRANSPORT
        for name in ("RedisEventMessage", *_OVER_REDIS, "rpc.RedisRpcTransport")
    },
    **{
        f"lightbus.{module}.{name}": old
        for module, names in _IN_MODULES.items()
        for name, old in names.items()
    },
}
