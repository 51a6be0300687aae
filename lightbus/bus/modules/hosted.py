"""The host whose modules are being imported, so that they share its bus."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lightbus.bus.path import BusPath
from lightbus.declared.settings import Feature
from lightbus.exceptions import ConfigurationError

if TYPE_CHECKING:
    from lightbus.manifest.model import Manifest


@dataclass(slots=True)
class Hosted:
    """The bus of the host of this process, with its manifest."""

    bus: BusPath
    manifest: Manifest
    #: The arguments that a module has given; the next module must not contradict them.
    said: set[str] = field(default_factory=set)


_hosted: list[Hosted] = []


def hosted(bus: BusPath, manifest: Manifest) -> None:
    """Hand out this bus from now on: it belongs to the host of this process."""
    _hosted.append(Hosted(bus, manifest))


def current() -> Hosted | None:
    """Return the host that is loading its modules, or runs, in this process; None if there is none."""
    return _hosted[-1] if _hosted else None


def not_hosted(bus: BusPath) -> None:
    """Hand out this bus no more."""
    _hosted[:] = [each for each in _hosted if each.bus is not bus]


def of_host(
    host: Hosted,
    config: str | os.PathLike[str] | Mapping[str, Any] | None,
    service_name: str | None,
    process_name: str | None,
    features: Sequence[Feature] | None,
) -> BusPath:
    """Hand out the host's bus, provided that the arguments do not contradict its manifest."""
    client = host.bus.client
    for what, asked in (("service_name", service_name), ("process_name", process_name)):
        has = getattr(client.parts.identity, what)
        if asked is None:
            continue
        is_fixed = what in host.said or host.manifest.origin(what) is not None
        if is_fixed and asked != has:
            raise ConfigurationError(
                f"lightbus.create({what}={asked!r}) contradicts the host, whose {what} is {has!r}; "
                f"leave it out, or put it into the manifest or the option --{what.replace('_', '-')}"
            )
        host.said.add(what)
        identity = replace(client.parts.identity, **{what: asked})
        client.parts.connections.rewire(replace(client.parts.wiring, identity=identity))
    if config is not None and not _is_same(config, host.manifest):
        raise ConfigurationError(
            "lightbus.create() with a manifest or a URL, in a module that `lightbus run` hosts, contradicts "
            "the host's own configuration; leave it out, and give it to the host: lightbus run -c FILE, or "
            "bus.redis.url in the manifest"
        )
    if features is not None:
        client.set_features(features)
    return host.bus


def _is_same(config: str | os.PathLike[str] | Mapping[str, Any], manifest: Manifest) -> bool:
    if isinstance(config, Mapping):
        url = manifest.bus.redis.url
        return url is not None and config == {"bus": {"redis": {"url": url.current()}}}
    return os.path.abspath(config) in {os.path.abspath(source) for source in manifest.sources}
