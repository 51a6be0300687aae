"""A graph as data, for other programs."""

from __future__ import annotations

from typing import Any

from lightbus.insight.graph.model import Graph

#: It grows when a program that reads an older one would be misled.
FORMAT_VERSION = 1


def data(graph: Graph) -> dict[str, Any]:
    """Return what becomes one JSON object."""
    live = graph.live
    return {
        "format_version": FORMAT_VERSION,
        "services": [
            {
                "name": name,
                "is_declared": name in graph.declared.services,
                "is_live": name in live.services if live else None,
            }
            for name in graph.services
        ],
        "apis": [{"name": name} for name in graph.apis],
        "links": [
            {
                "service": link.service,
                "kind": link.kind,
                "api": link.api,
                "name": link.name or None,
                "listener": link.listener or None,
                "state": graph.state(link),
                "is_declared": graph.is_declared(link),
                "is_live": link in live.links if live else None,
                "calls_per_hour": live.per_hour.get(link) if live and link.kind == "calls" else None,
                "fires_per_hour": live.per_hour.get(link) if live and link.kind == "fires" else None,
                "waiting": live.lags.get((link.service, link.listener)) if live else None,
                "is_paused": (link.service, link.listener) in live.paused if live and link.listener else None,
            }
            for link in graph.links
        ],
        "differences": graph.differences(),
    }
