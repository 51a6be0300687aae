"""The differences between two manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .keys.entries import Entry
from .keys.forms import Leaves, OneOf
from .keys.scalars import Leaf
from .model import Manifest

Path = tuple[str, ...]


def differences(old: Manifest, new: Manifest) -> list[Path]:
    """Compare two manifests by what they mean, wherever it is written.

    Returns:
        The keys of each value that differs, such as ``("listeners", "mail", "concurrency")``. Policies and
        schedules, and whatever only one of the two has, count as a whole.
    """
    return [
        path
        for path in _differing(Entry(value=old), Entry(value=new))
        if not (_as_written(path) and _written(old, path) == _written(new, path))
    ]


def _as_written(path: Path) -> bool:
    """Tell whether a value is made of what is written there, such as a policy's name, which counts alone."""
    return path in (("service_name",), ("process_name",)) or (
        path[0] == "listeners" and path[2:] == ("on_error",)
    )


def _differing(old: Entry, new: Entry) -> Iterator[Path]:
    if old.value == new.value or old.path == ("include",):
        return
    if old.is_left_out or new.is_left_out or _counts_whole(old):
        yield old.path
        return
    ours, theirs = ({each.name: each for each in entry.below()} for entry in (old, new))
    for name in {**ours, **theirs}:
        if name in ours and name in theirs:
            yield from _differing(ours[name], theirs[name])
        else:
            yield (*old.path, name)


def _counts_whole(entry: Entry) -> bool:
    is_named = len(entry.path) == 2 and entry.path[0] in ("policies", "schedules", "plugins")
    return is_named or isinstance(entry.key.form, Leaf | Leaves | OneOf)


def _written(manifest: Manifest, path: Path) -> Any:
    node = manifest.tree
    for name in path:
        node = node.get(name) if node else None
    return node.value if node else None
