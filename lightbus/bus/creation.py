"""``lightbus.create()`` and ``lightbus.get_bus()``: a bus for this process, as it is configured."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightbus.bus import hosted
from lightbus.declared.registry import Registry, auto_registered
from lightbus.declared.settings import Feature
from lightbus.exceptions import ConfigurationError
from lightbus.manifest import DEFAULT_FILE, OVERLOOKED
from lightbus.manifest.wiring import wiring_of
from lightbus.plugins import LightbusPlugin

from .client import BusClient
from .path import BusPath

if TYPE_CHECKING:
    from lightbus.manifest.model import Manifest

logger = logging.getLogger(__name__)

_buses: dict[str, BusPath] = {}
#: A configuration that begins with one of these and ``://`` is a URL, not a file.
_REDIS_SCHEMES = ("redis", "rediss", "unix")
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
) -> BusPath:
    """Make a bus for this process; while a host loads its modules, return the host's own.

    Args:
        config: A manifest: its path, or the mapping itself; or the URL of a Redis, as ``url``. If not given,
            ``LIGHTBUS_CONFIG``, else ``lightbus.yaml`` in the working directory, else defaults alone.
        url: The URL of a Redis, such as ``redis://localhost:6379/0``, in place of a manifest.
        service_name: The service that this process belongs to.
        process_name: This process's name.
        features: The features of a host of this bus: any of ``rpcs``, ``events`` and ``tasks``.
        plugins: Plugins besides those that the manifest switches on.

    Returns:
        The bus.

    Raises:
        ManifestError: The manifest has problems.
        ConfigurationError: The arguments contradict each other, or the manifest of the host that loads this
            module.
    """
    config = _with_url(config, url)
    host = hosted.current()
    if host is not None:
        bus = hosted.of_host(host, config, service_name, process_name, features)
        bus.client.use_plugins(_by_name(plugins))
        return bus
    arguments = {"service_name": service_name, "process_name": process_name}
    manifest = read_manifest(config, {k: v for k, v in arguments.items() if v is not None})
    for problem in manifest.notes:
        if problem.severity == "warning":
            logger.warning("%s", problem)
    client = _configured(manifest)
    if features is not None:
        client.set_features(features)
    client.use_plugins(_by_name(plugins))
    bus = BusPath(client)
    known = _buses.get(client.service_name)
    if known is None or known.client.is_closed:
        _buses[client.service_name] = bus
    return bus


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


def get_bus(service_name: str | None = None) -> BusPath:
    """Return the bus that this process made first, for code that did not make it.

    Args:
        service_name: The service of the bus; any service if not given.

    Returns:
        The bus; a new one from :func:`create` if there is none yet.
    """
    host = hosted.current()
    if host is not None and service_name in (None, host.bus.client.service_name):
        return host.bus
    for name, bus in _buses.items():
        if service_name in (None, name) and not bus.client.is_closed:
            return bus
    return create(service_name=service_name)


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
