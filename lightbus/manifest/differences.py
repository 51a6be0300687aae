"""What two manifests say differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .keys.shapes import ROOT, Block, Key, Named, Plugins, keys_of
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
        for path in _block(ROOT.cls, old, new, ())
        if not (_as_written(path) and _written(old, path) == _written(new, path))
    ]


def _as_written(path: Path) -> bool:
    """Tell whether a value is made of what is written there, such as a policy's name, which counts alone."""
    return path in (("service_name",), ("process_name",)) or (
        path[0] == "listeners" and path[2:] == ("on_error",)
    )


def _block(cls: type[Any], old: Any, new: Any, path: Path) -> Iterator[Path]:
    for name, key in keys_of(cls).items():
        if (*path, name) != ("include",):
            yield from _key(key, getattr(old, name), getattr(new, name), (*path, name))
    if cls is ROOT.cls:
        api = keys_of(cls)["apis"].shape
        assert isinstance(api, Named)  # noqa: S101 - the type hint of Manifest says so
        yield from _block(api.value.cls, old.default_api, new.default_api, ("apis", "default"))


def _key(key: Key, old: Any, new: Any, path: Path) -> Iterator[Path]:
    if old == new:
        return
    shape = key.shape
    if isinstance(shape, Block) and old is not None and new is not None:
        yield from _block(shape.cls, old, new, path)
    elif isinstance(shape, Named | Plugins):
        for name in {**old, **new}:
            both = name in old and name in new
            if isinstance(shape, Named) and both and path[0] not in ("policies", "schedules"):
                yield from _block(shape.value.cls, old[name], new[name], (*path, name))
            elif old.get(name) != new.get(name):
                yield (*path, name)
    else:
        yield path


def _written(manifest: Manifest, path: Path) -> Any:
    node = manifest.tree
    for name in path:
        node = node.get(name) if node else None
    return node.value if node else None
