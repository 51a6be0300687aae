"""A manifest to the settings of a bus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightbus.declared.registry import Registry
from lightbus.declared.settings import Identity, Wiring

if TYPE_CHECKING:
    from lightbus.manifest.model import Manifest


def wiring_of(manifest: Manifest, registry: Registry) -> Wiring:
    """Return what a bus needs of a manifest.

    Args:
        manifest: The manifest.
        registry: The APIs of this process, the first of which names a service that has no name.
    """
    offered = [name for name in registry.public() if registry.is_offered(name)]
    owned = [name for name in offered if manifest.api(name).owner is None]
    return Wiring(
        Identity(manifest.service_name or default_service_name(owned), manifest.process_name),
        manifest.api,
        manifest.bus.schema.transport,
        manifest.bus.schema.ttl,
        manifest.bus.schema.human_readable,
        manifest.bus.expose_tracebacks,
        manifest.bus.drain_timeout,
        lambda path: str(manifest.origin(path) or ""),
        tuple(manifest.apis),
        lambda: (
            manifest.service_version or (_installed(manifest.modules) if manifest.modules_given else None)
        ),
        frozenset(manifest.calls) if manifest.strict_calls else None,
        manifest.outbox.notify,
    )


def _installed(modules: Sequence[str]) -> str | None:
    """Return the version of the distribution that has the name of the first module's package."""
    # Not at the top: it takes longer than all else here, and only a card needs it.
    from importlib import metadata

    try:
        return metadata.version(modules[0].partition(".")[0]) if modules else None
    except (metadata.PackageNotFoundError, ValueError):
        return None


def default_service_name(owned: Sequence[str]) -> str:
    """Return a name that is the same after a restart: the first of its APIs by name, else the folder's."""
    return min(owned) if owned else Path.cwd().name or "lightbus"
