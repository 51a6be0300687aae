"""What buses, clients, APIs and contracts of Lightbus 1.x had, and those of today have not.

Each has what to write instead, as a part of a sentence. ``docs/names-of-1x.md`` is written from this.
"""

from __future__ import annotations

from typing import Final

_HOSTED: Final = "lightbus run hosts a service, and lightbus.testing.hosted() does in tests"
_ITSELF: Final = "use the client itself, in any thread"
_ERRORS: Final = "an error is raised where it happens, and a host logs those of its tasks"
_LOCAL: Final = "bus.schema.own() has the contracts of this process's APIs"
_REMOTE: Final = "bus.schema.published() has the contracts that are on the bus"
_PUBLISHED: Final = "lightbus run publishes the contracts of what it serves"
_CONTRACT: Final = "bus.schema.get(api_name) is the contract, with its 'events' and 'rpcs'"
_SETTINGS: Final = "bus.schema in the manifest has human_readable, ttl and transport"

#: The members that are gone, by the class that had them.
MEMBERS: Final[dict[str, dict[str, str]]] = {
    "BusClient": {
        "api_registry": "bus.client.register_api() adds an API, and bus.client.registry has those there are",
        "client_factory": _ITSELF,
        "config": "bus.client.settings(api_name) has what is configured",
        "consume_rpcs": _HOSTED,
        "disable_proxy": _ITSELF,
        "enabled": _ITSELF,
        "error_monitor": _ERRORS,
        "error_queue": _ERRORS,
        "event_client": "bus.client has its methods",
        "event_dock": "hooks of bus.client see each message",
        "exit_code": "lightbus run ends with it",
        "features": "choose them with lightbus.create(features=[...]) or lightbus run --only",
        "hook_registry": "bus.client has a decorator for each hook",
        "lazy_load_now": "write await bus.client.load_contracts()",
        "local": _ITSELF,
        "loop": "write asyncio.get_running_loop()",
        "main_client": _ITSELF,
        "plugin_registry": "bus.client.plugins has the plugins by name",
        "proxied_client": _ITSELF,
        "raise_errors": _ERRORS,
        "rpc_result_client": "bus.client has its methods",
        "rpc_result_dock": "hooks of bus.client see each message",
        "run_forever": _HOSTED,
        "schema": "write bus.schema",
        "start_worker": _HOSTED,
        "stop_loop": "write bus.client.request_shutdown()",
        "stop_worker": _HOSTED,
        "transport_registry": "bus.client.transports() has the transports",
    },
    "BusPath": {
        "ancestors": "str(path) is its whole name, with dots",
        "api_name": "write str(path).rpartition('.')[0]",
        "fully_qualified_name": "write str(path)",
        "name": "write str(path).rpartition('.')[2]",
        "parent": "str(path) is its whole name, with dots",
    },
    "Api": {
        "get_event": "bus.my_api.my_event is the event",
        "meta": "write api.Meta",
    },
    "BusSchema": {
        "add_api": "bus.client.register_api() adds an API",
        "close": "bus.client.close() closes all",
        "ensure_loaded_from_bus": "write await bus.client.load_contracts()",
        "events": _CONTRACT,
        "get_api_schema": "write bus.schema.get(api_name)",
        "get_event_or_rpc_schema": _CONTRACT,
        "get_event_schema": _CONTRACT,
        "get_rpc_schema": _CONTRACT,
        "human_readable": _SETTINGS,
        "load_from_bus": "write await bus.client.load_contracts()",
        "local_schemas": _LOCAL,
        "max_age_seconds": _SETTINGS,
        "monitor": _PUBLISHED,
        "remote_schemas": _REMOTE,
        "rpcs": _CONTRACT,
        "save_to_bus": _PUBLISHED,
        "schema_transport": _SETTINGS,
    },
}
