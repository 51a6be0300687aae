"""The options of Lightbus's own plugins, apart from their code, so that reading a manifest imports none."""

from __future__ import annotations

from dataclasses import dataclass

from lightbus.options import Duration, option

from . import PluginOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalStateOptions(PluginOptions):
    """Events about the workers on this bus."""

    ping_enabled: bool = option(True, "Whether the worker says regularly that it lives.")
    ping_interval: Duration = option(Duration(60), "How often it says so.", minimum=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalMetricsOptions(PluginOptions):
    """Events about every call and event of this process, with their arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingOptions(PluginOptions):
    """Spans of OpenTelemetry for calls, events and their handlers."""


#: The options of each, by the name of its entry point.
OWN_PLUGINS: dict[str, type[PluginOptions]] = {
    "internal_state": InternalStateOptions,
    "internal_metrics": InternalMetricsOptions,
    "tracing": TracingOptions,
}
