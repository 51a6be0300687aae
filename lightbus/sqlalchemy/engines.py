"""Engines whose outboxes are relayed: synchronous ones in a thread, asynchronous ones on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from lightbus.exceptions import ConfigurationError
from lightbus.outbox.database import InThread, Remote

from .tables import SqlAlchemyTables

T = TypeVar("T")


def connect(engine: object, name: str, *, notify: bool = False) -> Remote:
    """Return the outbox in the database of an engine.

    Args:
        engine: An Engine or an AsyncEngine.
        name: Its name in the manifest.
        notify: Whether signs of those who write are waited for.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(engine, AsyncEngine):
        return OnLoop(SqlAlchemyTables(engine.sync_engine, name, notify=notify))
    if isinstance(engine, Engine):
        return InThread(SqlAlchemyTables(engine, name, notify=notify))
    raise ConfigurationError(
        f"{name} is {engine!r:.80}; name an engine, as create_engine() or create_async_engine() makes it"
    )


class OnLoop(Remote):
    """Uses the tables of an outbox by an asynchronous driver."""

    def __init__(self, tables: SqlAlchemyTables) -> None:
        super().__init__(tables)
        self._one_at_a_time = asyncio.Lock()

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.shield(asyncio.ensure_future(self._alone(function, *args)))

    async def _alone(self, function: Callable[..., T], *args: Any) -> T:
        async with self._one_at_a_time:
            return await greenlet_spawn(function, *args)
