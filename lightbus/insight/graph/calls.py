"""The calls that a manifest declares and that nobody has, each with its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lightbus.contracts.expectations import doubtful_calls
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place, Problem


def unknown_calls(
    manifest: Manifest, known: Mapping[str, Collection[str] | None], *, is_all: bool
) -> list[Problem]:
    """Tell which names in ``calls`` are neither APIs nor procedures that are known.

    Args:
        manifest: The manifest.
        known: The procedures of each API that is known; None if only the API's name is.
        is_all: Whether that is all there is. Else a name counts as a slip only where a known one is near.
    """
    return [
        Problem(_place(manifest, doubt.name), "calls", f"{doubt.name}: {doubt.what}", "warning")
        for doubt in doubtful_calls(manifest.calls, known)
        if is_all or doubt.is_certain or doubt.has_near
    ]


def _place(manifest: Manifest, name: str) -> Place:
    """Return where a name in ``calls`` was written."""
    node = manifest.tree.find("calls") if manifest.tree is not None else None
    if node is None:
        return Place("")
    items = node.value if isinstance(node.value, list) else []
    return next((item.place for item in items if item.value == name), node.place)
