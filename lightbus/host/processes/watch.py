"""Files that are looked at again and again, to see when one changes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

#: Seconds between two looks.
_PAUSE = 0.25
#: Seconds without a further change after which a change is whole: editors and git write in several steps.
_CALM = 0.1
#: The most folders and files of a project that are looked at as a whole.
_MOST_FOLDERS, _MOST_FILES = 2_000, 10_000
#: What may be meant by a project's code and manifest.
_SUFFIXES = (".py", ".yaml", ".yml")
#: The files for which a folder is read as a whole: manifests, and contracts.
_LISTED = (".yaml", ".yml", ".json")
_NOT_ENTERED = ("__pycache__", "node_modules", "site-packages")

#: When a file was written and how long it is; the manifests in a folder; None for what is not there.
Stamp = tuple[int, int] | tuple[str, ...] | None


class Watch:
    """Finds out which files have changed since :meth:`begin`.

    It looks at those that are followed. In a wide look it counts everything in the folder that may be code
    or a manifest, since what would mend a failure may be a file that nobody has read so far.

    Args:
        folder: The project.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._followed: set[Path] = set()
        self._stamps: dict[Path, Stamp] = {}
        self._is_wide = False

    def begin(self) -> None:
        """Note how everything is, before anybody reads it."""
        self._is_wide = False
        self._stamps = _stamps([*_tree(self._folder), *self._followed])

    def follow(self, paths: Iterable[Path]) -> None:
        """Look at these, too; a folder counts as changed where other manifests are in it."""
        for path in paths:
            self._followed.add(path)
            if path not in self._stamps:
                self._stamps[path] = _stamp(path)

    def widen(self) -> None:
        """Look at everything, until :meth:`begin` is called again."""
        self._is_wide = True

    async def change(self) -> list[Path]:
        """Wait until something has changed, and then until nothing more does; return what it was."""
        while True:
            await asyncio.sleep(_PAUSE)
            now = await self._look()
            if not self._changed(now):
                continue
            await asyncio.sleep(_CALM)
            while (later := await self._look()) != now:
                now = later
                await asyncio.sleep(_CALM)
            if changed := self._changed(now):
                for path in changed:
                    self._stamps[path] = now.get(path)
                return sorted(changed)

    async def _look(self) -> Mapping[Path, Stamp]:
        followed, is_wide = frozenset(self._followed), self._is_wide
        # A disk may be slow, or far away; signals are heeded meanwhile.
        return await asyncio.to_thread(
            lambda: _stamps([*followed, *(_tree(self._folder) if is_wide else ())])
        )

    def _changed(self, now: Mapping[Path, Stamp]) -> Collection[Path]:
        paths = now.keys() | self._stamps.keys() if self._is_wide else now.keys()
        return [path for path in paths if now.get(path) != self._stamps.get(path)]


def _stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> Stamp:
    try:
        if path.is_dir():
            return tuple(sorted(name for name in os.listdir(path) if name.endswith(_LISTED)))
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _tree(folder: Path) -> Iterator[Path]:
    """Yield the code and the manifests in a folder; what is hidden or installed is left out."""
    walk = islice(os.walk(folder), _MOST_FOLDERS)
    files = (file for inner, folders, names in walk for file in _of_folder(inner, folders, names))
    return islice(files, _MOST_FILES)


def _of_folder(inner: str, folders: list[str], names: list[str]) -> Iterator[Path]:
    entered = [n for n in folders if not n.startswith(".") and n not in _NOT_ENTERED]
    # The walk goes by the list.
    folders[:] = [] if "pyvenv.cfg" in names else entered
    return (Path(inner, name) for name in names if name.endswith(_SUFFIXES))
