"""The plugins that a manifest switches on."""

from __future__ import annotations

from lightbus.exceptions import ConfigurationError
from lightbus.plugins import LightbusPlugin
from lightbus.plugins.loading import make_plugin

from .model import Manifest
from .problems import Place, Problems


def make_plugins(manifest: Manifest, problems: Problems) -> dict[str, LightbusPlugin]:
    """Make the plugins that a manifest switches on.

    Args:
        manifest: The manifest, which the plugins get to see.
        problems: Takes what keeps one from being made, and where the manifest asks for it.

    Returns:
        The plugins by name.
    """
    made = {}
    for name, options in manifest.plugins.items():
        if options.enabled:
            path = f"plugins.{name}"
            try:
                made[name] = make_plugin(name, options, manifest)
            except ConfigurationError as e:
                problems.add(manifest.origin(f"{path}.enabled") or Place("the default"), path, str(e))
    return made


def enabled_plugins(manifest: Manifest) -> dict[str, LightbusPlugin]:
    """Make the plugins that a manifest switches on.

    Raises:
        InvalidManifest: One can't be made; every reason is given, with its place.
    """
    problems = Problems()
    made = make_plugins(manifest, problems)
    problems.raise_errors()
    return made
