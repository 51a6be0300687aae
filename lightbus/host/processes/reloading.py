"""``lightbus run --reload``: the processes are started again when their code or their manifest changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from lightbus.exceptions import ConfigurationError
from lightbus.host import logs
from lightbus.host.banner import listed, tell_start
from lightbus.host.embedded import EmbeddedServer, provide, says_where
from lightbus.host.shutdown import EXIT_CONFIG, end_with
from lightbus.manifest.model import Manifest
from lightbus.manifest.text.sources import is_url

from .crew import Crew
from .ending import Ending
from .watch import Watch

logger = logging.getLogger(__name__)


class Reloading:
    """Keeps the processes of a manifest running, and starts them again when code or manifest change.

    If a changed module can't be read by Python, or the manifest is wrong, what runs goes on. A mistake that
    only the start of a process finds ends them. Either is told, and the next change is awaited.

    Args:
        read: Reads the manifest.
        command: The command that starts a process.
        folder: The project, in which an embedded server keeps its data, too.
        named: The files, folders and URLs that the command line names.
    """

    def __init__(
        self, read: Callable[[], Manifest], command: Sequence[str], folder: Path, named: Sequence[str]
    ) -> None:
        self._read = read
        self._command = command
        self._folder = folder
        self._named = [folder / path for path in named if not is_url(path)]
        self._watch = Watch(folder)
        self._crew: Crew | None = None
        self._ending = Ending(lambda: self._crew)
        self._manifest: Manifest | None = None
        self._embedded: EmbeddedServer | None = None
        self._provided: object = None
        self._status = 0

    def run(self) -> int:
        """Run the processes, again after each change, until SIGTERM or SIGINT.

        Returns:
            0 if at the end every process that ran ended in good order, 78 if none could be started, else 1.
        """
        try:
            asyncio.run(self._supervise())
            end_with(self._status)
        finally:
            if self._embedded is not None:
                self._embedded.stop()
        return self._status

    async def _supervise(self) -> None:
        self._ending.heed()
        while not self._ending.begun.is_set():
            self._watch.begin()
            self._crew = await self._start()
            await self._until_due()
            if self._crew is not None:
                self._crew.end()
                await self._crew.ended()
            self._status = EXIT_CONFIG if self._crew is None else self._crew.status
        self._ending.close()

    async def _start(self) -> Crew | None:
        """Start the processes; None if the manifest does not allow that, which is told."""
        self._watch.follow(self._named)
        try:
            manifest = await asyncio.to_thread(self._read)
            self._watch.follow(self._files_of(manifest))
            logs.configure(manifest.bus.log_level, manifest.bus.log_format)
            if self._manifest is None:
                tell_start(manifest, reloads=True)
            self._manifest = manifest
            await asyncio.to_thread(self._provide, manifest)
        except ConfigurationError as e:
            for line in str(e).splitlines():
                logger.error("%s", line)
            return None
        crew = Crew(manifest, self._command, self._watch.follow)
        crew.start()
        return crew

    def _provide(self, manifest: Manifest) -> None:
        """Provide a Redis, unless the one that was provided before is still wanted: its data stays."""
        redis = manifest.bus.redis
        wanted = says_where(manifest), redis.embedded, redis.url
        if wanted == self._provided:
            return
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.stop()
        self._embedded = provide(manifest, self._folder)
        self._provided = wanted

    async def _until_due(self) -> None:
        """Wait until the processes are to be started again, or the end has begun."""
        unused: set[Path] = set()
        while changed := await self._change():
            unused.update(changed)
            names = [_shown(path, self._folder) for path in sorted(unused)]
            if self._crew is not None and self._crew.running:
                mistakes = await asyncio.to_thread(self._mistakes, sorted(unused))
                if mistakes:
                    for line in mistakes:
                        logger.error("%s", line)
                    logger.error("%s changed, but can't be used: what ran before goes on", listed(names))
                    continue
            logger.info("%s changed: starting again", listed(names), extra={"about": {"changed": names}})
            return

    async def _change(self) -> list[Path]:
        """Wait for a change; nothing where the end has begun first."""
        begun = self._ending.begun
        if self._crew is not None:
            changed = await _first(self._watch.change(), self._crew.ended(), begun.wait())
            if changed or begun.is_set():
                return changed if not begun.is_set() else []
        self._watch.widen()
        logger.info("nothing runs now: waiting for a change of a file in %s", self._folder)
        return await _first(self._watch.change(), begun.wait())

    def _mistakes(self, changed: Sequence[Path]) -> list[str]:
        """Return what is wrong with files, as far as that is seen without running them."""
        found = [mistake for path in changed if path.suffix == ".py" and (mistake := _mistake_in(path))]
        if any(path.suffix != ".py" for path in changed):
            try:
                self._read()
            except ConfigurationError as e:
                found += str(e).splitlines()
        return found

    def _files_of(self, manifest: Manifest) -> Iterator[Path]:
        """Yield the files of a manifest, and the folders in which it may have more."""
        for source in manifest.sources:
            if is_url(source):
                if self._manifest is None:
                    logger.info("%s is not watched: only files are", source)
                continue
            path = self._folder / source
            yield path
            if path.parent != self._folder:
                yield path.parent


async def _first(change: Coroutine[Any, Any, list[Path]], *others: Coroutine[Any, Any, Any]) -> list[Path]:
    """Wait for a change or anything else; return the change, if that came."""
    tasks = [asyncio.ensure_future(each) for each in (change, *others)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _mistake_in(path: Path) -> str:
    """Return why Python can't read a module, with its place; empty if it can."""
    try:
        compile(path.read_bytes(), path, "exec", dont_inherit=True)
    except SyntaxError as e:
        return f"{path}:{e.lineno}: {type(e).__name__}: {e.msg}"
    except ValueError as e:  # a null byte
        return f"{path}: {e}"
    except OSError:
        return ""  # It was removed, and only its import tells whether anybody misses it.
    return ""


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
