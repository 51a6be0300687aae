"""The inbox of a handler: it notes each event in the transaction of its effects, so that both happen once."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from lightbus.options import Duration

Handler = Callable[..., Any]

#: The attribute of a handler that has its inbox; ``functools.wraps`` hands it on to what is around that.
MARK: Final = "__lightbus_inbox__"


class Inbox(Protocol):
    """What a handler's decorator leaves for the worker that runs it."""

    #: Names the database for people, such as ``django:default``.
    name: str
    #: Seconds for which an event is known after it was handled.
    keep: Duration
    #: The argument that it gives the handler; empty for none.
    gives: str

    def check(self) -> None:
        """Look whether it can be used, without a question to the database.

        Raises:
            ConfigurationError: It can't; the message says why, and what to do.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Recipient:
    """The listener that a handler runs for.

    Args:
        name: The listener's name.
        groups: By API, the groups under which an event is noted: its own, and that of its name before.
        add: Counts events in metrics: the listener's name, the outcome, and how many.
    """

    name: str
    groups: Mapping[str, Sequence[str]]
    add: Callable[..., None]
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @property
    def all_groups(self) -> list[str]:
        """All groups, each once."""
        return sorted({group for groups in self.groups.values() for group in groups})

    def count(self, new: int, done_before: int) -> None:
        """Count the events of one transaction; from any thread."""
        with self._one_at_a_time:
            if new:
                self.add(self.name, "new", by=new)
            if done_before:
                self.add(self.name, "done_before", by=done_before)


#: The listener that the running handler was called for. Its inbox takes it, and leaves nothing for others.
recipient: ContextVar[Recipient | None] = ContextVar("lightbus_recipient", default=None)


def inbox_of(handler: Handler) -> Inbox | None:
    """Return the inbox of a handler, also beneath other decorators; None where it has none."""
    function = getattr(handler, "func", handler)  # as of functools.partial
    found: Inbox | None = getattr(function, MARK, None)
    if found is None and not inspect.isroutine(function):
        found = getattr(getattr(type(function), "__call__", None), MARK, None)  # noqa: B004 - the method
    return found


def received(handler: Handler, by: Recipient, *, is_async: bool) -> Handler:
    """Return a handler that tells its inbox for which listener it runs."""
    if is_async:

        @functools.wraps(handler)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            token = recipient.set(by)
            try:
                return await handler(*args, **kwargs)
            finally:
                recipient.reset(token)

        return awaited

    @functools.wraps(handler)
    def called(*args: Any, **kwargs: Any) -> Any:
        token = recipient.set(by)
        try:
            return handler(*args, **kwargs)
        finally:
            recipient.reset(token)

    return called
