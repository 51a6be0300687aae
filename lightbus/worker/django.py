"""Django's database connections in a host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from lightbus.bus.parts import Parts


class DjangoConnections:
    """Django's database connections, looked after around each message as Django does it around each request.

    One that is broken, or older than CONN_MAX_AGE, is closed, and the next query makes a new one. Without
    that, a thread whose connection the database has closed would fail for ever.
    """

    def __init__(self) -> None:
        self._db: Any = import_module("django.db")
        self._to_thread = import_module("asgiref.sync").sync_to_async
        self._here = threading.local()
        #: Whether coroutines have used the database: they share one connection, in a thread of Django's.
        self._is_shared = False
        created = import_module("django.db.backends.signals").connection_created
        created.connect(self._on_created)

    def look_after(self, parts: Parts) -> None:
        """Look after those that the handlers of a bus use."""
        parts.pool.around = self.around
        for hook in ("before_rpc_execution", "before_event_execution"):
            parts.hooks.add(hook, self.before, before_plugins=True)

    @contextmanager
    def around(self) -> Iterator[None]:
        """Renew the connections of this thread before a plain function, and close old ones after it."""
        self._here.is_ours = True
        self._renew()
        try:
            yield
        finally:
            self._db.close_old_connections()

    async def before(self, **_: Any) -> None:
        """Renew the connection of coroutines before a message."""
        if self._is_shared:
            await self._to_thread(self._renew)()

    def _renew(self) -> None:
        self._db.reset_queries()
        self._db.close_old_connections()

    def _on_created(self, **_: Any) -> None:
        if not getattr(self._here, "is_ours", False):
            self._is_shared = True
