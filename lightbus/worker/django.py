"""Django's database connections in a host."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, cast

from lightbus.bus.parts import Parts
from lightbus.plugins.hooks import Hooks

P = ParamSpec("P")
T = TypeVar("T")


@functools.cache
def _db() -> Any:
    # Late, as Django may be set up after a function was decorated.
    return import_module("django.db")


def renew() -> None:
    """Close those connections of this thread that are broken or old, before they are used."""
    _db().reset_queries()
    _db().close_old_connections()


@contextmanager
def renewed() -> Iterator[None]:
    """Renew the connections of this thread before a plain function, and close old ones after it."""
    renew()
    try:
        yield
    finally:
        _db().close_old_connections()


def uses_django_db(function: Callable[P, T]) -> Callable[P, T]:
    """Look after Django's database connections around one function; ``django`` in the manifest does for all.

    Args:
        function: A procedure or a listener, plain or a coroutine function.

    Returns:
        It, with the same signature.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            # All coroutines share one connection, in a thread of Django's.
            to_thread = import_module("asgiref.sync").sync_to_async
            await to_thread(renew)()
            return await function(*args, **kwargs)

        return cast("Callable[P, T]", awaited)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        with renewed():
            return function(*args, **kwargs)

    return called


class DjangoConnections:
    """Django's database connections, looked after around messages as Django does it around each request.

    Plain functions that follow each other in a thread, without an error, have it done once for some of them.

    One that is broken, or older than CONN_MAX_AGE, is closed, and the next query makes a new one. Without
    that, a thread whose connection the database has closed would fail for ever.
    """

    def __init__(self) -> None:
        self._to_thread = import_module("asgiref.sync").sync_to_async
        self._here = threading.local()
        self._hooks: Hooks | None = None
        created = import_module("django.db.backends.signals").connection_created
        created.connect(self._on_created)

    def look_after(self, parts: Parts) -> None:
        """Look after those that the handlers of a bus use."""
        parts.pool.around = self.around
        self._hooks = parts.hooks

    @contextmanager
    def around(self) -> Iterator[None]:
        """Renew the connections of this thread before plain functions, and close old ones after them."""
        self._here.is_ours = True
        with renewed():
            yield

    async def before(self, **_: Any) -> None:
        """Renew the connection of coroutines before a message."""
        await self._to_thread(renew)()

    def _on_created(self, **_: Any) -> None:
        """Note that coroutines use the database: they share one connection, in a thread of Django's."""
        if self._hooks is None or getattr(self._here, "is_ours", False):
            return
        hooks, self._hooks = self._hooks, None
        for hook in ("before_rpc_execution", "before_event_execution"):
            hooks.add(hook, self.before, before_plugins=True, binds=False)
