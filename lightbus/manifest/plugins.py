"""The plugins that a manifest switches on."""

from __future__ import annotations

from dataclasses import replace

from lightbus.exceptions import ConfigurationError
from lightbus.plugins import LightbusPlugin
from lightbus.plugins.installed import make_plugin

from .model import Manifest
from .problems import Place, Problems


def make_plugins(manifest: Manifest, service_name: str, problems: Problems) -> dict[str, LightbusPlugin]:
    """Make the plugins that a manifest switches on.

    Args:
        manifest: The manifest, which the plugins get to see.
        service_name: The name of the service, which they see there, too.
        problems: Takes what keeps one from being made, and where the manifest asks for it.

    Returns:
        The plugins by name.
    """
    made, manifest = {}, replace(manifest, service_name=service_name)
    for name, options in manifest.plugins.items():
        if options.enabled:
            path = f"plugins.{name}"
            try:
                made[name] = make_plugin(name, options, manifest)
            except ConfigurationError as e:
                problems.add(manifest.origin(f"{path}.enabled") or Place("the default"), path, str(e))
    return made


def enabled_plugins(manifest: Manifest, service_name: str) -> dict[str, LightbusPlugin]:
    """Make the plugins that a manifest switches on, as :func:`make_plugins` does.

    Raises:
        InvalidManifest: One can't be made; every reason is given, with its place.
    """
    problems = Problems()
    made = make_plugins(manifest, service_name, problems)
    problems.raise_errors()
    return made
