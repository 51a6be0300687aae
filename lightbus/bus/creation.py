"""``lightbus.create()`` and ``lightbus.get_bus()``: a bus for this process, as it is configured."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Unpack

from lightbus.bus.modules import hosted
from lightbus.declared.old_names.arguments import OldArguments, with_old_arguments
from lightbus.declared.registry import Registry, auto_registered
from lightbus.declared.settings import Feature
from lightbus.exceptions import ConfigurationError, FailedToImportBusModule
from lightbus.manifest import DEFAULT_FILE, OVERLOOKED
from lightbus.manifest.wiring import wiring_of
from lightbus.plugins import LightbusPlugin

from .client import BusClient
from .path import BusPath

if TYPE_CHECKING:
    from lightbus.manifest.model import Manifest

logger = logging.getLogger(__name__)

_buses: dict[str, BusPath] = {}
#: The bus module of those who name none, and whether it was looked for in vain: that takes long.
_DEFAULT_MODULE = "bus"
_absent: set[str] = set()
#: A configuration that begins with one of these and ``://`` is a URL, not a file.
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
#: A name that means itself, whoever reads it.
_PLAIN_NAME = re.compile(r"[\w.:-]{0,200}", re.ASCII)


def create(
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    url: str | None = None,
    service_name: str | None = None,
    process_name: str | None = None,
    features: Sequence[Feature] | None = None,
    plugins: Sequence[LightbusPlugin] = (),
    **of_1x: Unpack[OldArguments],
) -> BusPath:
    """Make a bus for this process; while a host loads its modules, return the host's own.

    Args:
        config: A manifest: its path, or the mapping itself; or the URL of a Redis, as ``url``. If not given,
            ``LIGHTBUS_CONFIG``, else ``lightbus.yaml`` in the working directory, else defaults alone.
        url: The URL of a Redis, such as ``redis://localhost:6379/0``, in place of a manifest.
        service_name: The service that this process belongs to.
        process_name: This process's name.
        features: The features of a host of this bus: any of ``rpcs``, ``events``, ``tasks`` and ``outbox``.
        plugins: Plugins besides those that the manifest switches on.
        of_1x: Arguments of Lightbus 1.x, which warn.

    Returns:
        The bus.

    Raises:
        ManifestError: The manifest has problems.
        ConfigurationError: The arguments contradict each other, or the manifest of the host that loads this
            module.
    """
    config = _with_url(with_old_arguments(config, of_1x), url)
    host = hosted.current()
    if host is not None:
        bus = hosted.of_host(host, config, service_name, process_name, features)
        bus.client.use_plugins(_by_name(plugins))
        return bus
    client = _of_its_own(config, {"service_name": service_name, "process_name": process_name})
    if features is not None:
        client.set_features(features)
    client.use_plugins(_by_name(plugins))
    bus = BusPath(client)
    known = _buses.get(client.service_name)
    if known is None or known.client.is_closed:
        _buses[client.service_name] = bus
    return bus


def _of_its_own(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, arguments: Mapping[str, str | None]
) -> BusClient:
    """Make a client for a process that no host runs in; warnings about its manifest are logged."""
    manifest = read_manifest(config, {k: v for k, v in arguments.items() if v is not None})
    for problem in manifest.notes:
        if problem.severity == "warning":
            logger.warning("%s", problem)
    client = _configured(manifest)
    # A process that only uses the bus is seen on it as well.
    client.parts.connections.opened = client.parts.card.begin
    return client


def _with_url(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, url: str | None
) -> str | os.PathLike[str] | Mapping[str, Any] | None:
    """Return the configuration; the URL of a Redis becomes a mapping that has only this URL."""
    if url is None:
        is_url = isinstance(config, str) and config.partition("://")[0] in _REDIS_SCHEMES
        return {"bus": {"redis": {"url": config}}} if is_url else config
    if config is not None:
        raise ConfigurationError(
            "lightbus.create() takes a manifest or the URL of a Redis; write the URL into the manifest, as "
            "bus.redis.url"
        )
    return {"bus": {"redis": {"url": url}}}


def _configured(manifest: Manifest) -> BusClient:
    """Make the client that a manifest describes, with the plugins that it switches on."""
    client = BusClient(wiring_of(manifest, Registry(auto_registered)))
    client.set_features(manifest.features)
    if any(options.enabled for options in manifest.plugins.values()):
        from lightbus.manifest.plugins import enabled_plugins

        client.use_plugins(enabled_plugins(manifest, client.service_name))
    return client


def get_bus(bus_module_name: str | None = None, *, service_name: str | None = None) -> BusPath:
    """Return the bus of a bus module, for code that did not make it.

    Args:
        bus_module_name: The module, which is imported where it was not yet. If not given: in a host, the
            host's bus; elsewhere, that of the modules in ``LIGHTBUS_MODULE``, else of the module ``bus``.
        service_name: The service whose bus is meant, in place of a module's; this process has made it.

    Returns:
        The bus that the module has by the name ``bus``. If it has none, or nobody named a module and there is
        none, the bus that this process made first, and a new one from :func:`create` if there is none yet.

    Raises:
        FailedToImportBusModule: The module is not there, or its ``bus`` is no bus.
    """
    host = hosted.current()
    if bus_module_name is None:
        if host is not None and service_name in (None, host.bus.client.service_name):
            return host.bus
        bus_module_name = os.environ.get("LIGHTBUS_MODULE")
    if service_name is None:
        bus = _bus_of(bus_module_name)
        if bus is not None:
            return bus
        if host is not None:
            return host.bus
    for name, made in _buses.items():
        if service_name in (None, name) and not made.client.is_closed:
            return made
    return create(service_name=service_name)


def _bus_of(names: str | None) -> BusPath | None:
    """Import bus modules, as ``lightbus run`` names them, and return the first bus that one of them has."""
    modules = [_imported(name.strip()) for name in names.split(",")] if names else [_default_module()]
    for module in modules:
        bus = getattr(module, "bus", None)
        if isinstance(bus, BusPath):
            return bus
        if module is not None and bus is not None:
            raise FailedToImportBusModule(
                f"{module.__name__}.bus is of the type {type(bus).__name__}, and no bus; write "
                "bus = lightbus.create() into the module, or name another one with LIGHTBUS_MODULE"
            )
    return None


def _default_module() -> ModuleType | None:
    if _DEFAULT_MODULE in _absent:
        return None
    try:
        return _imported(_DEFAULT_MODULE)
    except FailedToImportBusModule as e:
        if getattr(e.__cause__, "name", None) != _DEFAULT_MODULE:
            raise
        _absent.add(_DEFAULT_MODULE)
        return None


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as e:
        if isinstance(e, ModuleNotFoundError) and e.name and f"{name}.".startswith(f"{e.name}."):
            advice = "check the name given to lightbus.get_bus() or by LIGHTBUS_MODULE, and sys.path"
            raise FailedToImportBusModule(f"there is no module {name!r}; {advice}") from e
        raise FailedToImportBusModule(f"importing the module {name!r} raised {type(e).__name__}: {e}") from e


def read_manifest(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, arguments: Mapping[str, str]
) -> Manifest:
    """Read the manifest; if nothing is configured, its reader is mostly not even imported.

    Args:
        config: As :func:`create` takes it.
        arguments: The arguments of the code, which are weaker than every file.

    Returns:
        The manifest; one of defaults if there is no file and nothing in the environment.

    Raises:
        ManifestError: It has problems.
    """
    is_configured = any(name.upper().startswith("LIGHTBUS_") for name in os.environ)
    # A name that has placeholders, or can't be used, is for the reader to fill in or to refuse.
    is_plain = all(map(_PLAIN_NAME.fullmatch, arguments.values()))
    is_without = config is None and not any(map(os.path.exists, (DEFAULT_FILE, *OVERLOOKED)))
    if is_plain and is_without and not is_configured:
        from lightbus.manifest.model import Manifest

        process = arguments.get("process_name") or f"{socket.gethostname()}-{os.getpid()}"
        return Manifest(service_name=arguments.get("service_name"), process_name=process)
    from lightbus.manifest.load import load

    if isinstance(config, Mapping):
        return load(create_arguments={**config, **arguments}, look_around=False)
    return load([os.fspath(config)] if config is not None else (), create_arguments=arguments)


def _by_name(plugins: Sequence[LightbusPlugin]) -> dict[str, LightbusPlugin]:
    """Name plugins that have no entry point by their classes."""
    wrong = [plugin for plugin in plugins if not isinstance(plugin, LightbusPlugin)]
    if wrong:
        raise ConfigurationError(
            f"plugins are objects of classes derived from LightbusPlugin; got {wrong[0]!r}"
        )
    return {f"{type(plugin).__name__} {number}": plugin for number, plugin in enumerate(plugins, 1)}
