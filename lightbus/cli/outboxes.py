"""The outboxes that a manifest names, as commands use them: connected one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from lightbus.exceptions import OutboxError
from lightbus.host.importing import import_object, look_in, set_up_django
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Problems
from lightbus.outbox.database import DatabaseFailed, Remote
from lightbus.outbox.relays import Outbox, outboxes_of
from lightbus.outbox.rows import Waiting

#: Seconds that a database has to say how full its outbox is.
_PATIENCE = 5.0


def outboxes_in(manifest: Manifest) -> Sequence[Outbox]:
    """Return what connects to each outbox that a manifest names.

    Raises:
        InvalidManifest: One of them can't be used.
    """
    problems = Problems()
    look_in(Path.cwd())
    set_up_django(manifest, problems)
    problems.raise_errors()
    found = outboxes_of(manifest, import_object, problems)
    problems.raise_errors()
    return found


async def how_full(outboxes: Sequence[Outbox]) -> AsyncIterator[tuple[str, Waiting | str]]:
    """Go through the names of outboxes, each with how full it is, or with why that can't be told."""
    for outbox in outboxes:
        async with _connected(outbox) as remote:
            try:
                async with asyncio.timeout(_PATIENCE):
                    yield remote.name, await remote.waiting()
            except (DatabaseFailed, OutboxError) as e:
                yield remote.name, str(e)
            except TimeoutError:
                yield remote.name, f"it does not answer within {_PATIENCE:g} s"


@asynccontextmanager
async def _connected(outbox: Outbox) -> AsyncIterator[Remote]:
    remote = outbox()
    try:
        yield remote
    finally:
        await remote.close()
