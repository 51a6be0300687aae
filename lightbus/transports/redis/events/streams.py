"""The streams that a process fires into: the one that carries an event, and the state of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightbus.messages import EventMessage
from lightbus.transports.port import Use
from lightbus.transports.redis.acl import needs
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.keys import stream_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.options import RedisEventOptions

from .lost_events import LostEvents
from .questions.noted import note
from .trimming import Trimmer


@dataclass(slots=True, eq=False)
class Stream:
    """One stream, from its first use on.

    Args:
        key: Its key.
        pipe: The connection by which events go there.
        promise: What is promised of replicas; None for nothing.
        store: Sends a write to it, which its listeners hear of, and which is answered once that is kept.
        trimmer: Keeps it near its length; None if it may grow.
        lost: Looks in it for events without a confirmation.
        confirmed: The entry that Redis has confirmed last: events that are sent later come after it.
    """

    key: str
    pipe: Channel
    promise: Promise | None
    store: Callable[..., asyncio.Future[Any]]
    trimmer: Trimmer | None
    lost: LostEvents
    confirmed: str = "-"


class Streams:
    """The streams of one transport.

    Args:
        transport: Has the session.
        options: The spread of events over streams, and the length of those.
    """

    def __init__(self, transport: RedisTransport, options: RedisEventOptions) -> None:
        self._transport = transport
        self._options = options
        self._stream_use = options.stream_use
        replicas, timeout = options.replicas_before_confirmed, options.replicas_timeout
        #: The replicas that must have an event before it counts as fired; None for none.
        self.promise = Promise(replicas, timeout) if replicas else None
        self._used: dict[str, Stream] = {}

    @property
    def pipe(self) -> Channel:
        """The connection by which events are fired: with a promise, one of its own."""
        if self.promise is None:
            return self._transport.pipe
        return self._transport.session.promising(self.promise)

    def of(self, message: EventMessage) -> Stream:
        """Return the stream that carries an event."""
        key = stream_key(message.api_name, message.event_name, self._stream_use)
        return self._used.get(key) or self._begin(key)

    def keys(self, uses: Iterable[Use]) -> list[str]:
        """Return the keys of the streams that some uses are about."""
        return list(dict.fromkeys(key for use in uses for key in self._keys_of(use)))

    def carried(self, events: Iterable[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
        """Return the streams of some events by key, each with those that it carries."""
        found: dict[str, list[tuple[str, str]]] = {}
        for api, name in events:
            for key in self._keys_of(Use("fires", api, (name,))):
                found.setdefault(key, []).append((api, name))
        return found

    def needs(self, use: Use) -> Iterable[Need]:
        """Return the needs of a use."""
        for key in self._keys_of(use):
            if self._options.is_cluster:
                yield from needs.rings(key)
            if use.role == "fires":
                yield from needs.fires(use.name, key, dedupes=use.dedupes, promise=self.promise)
            else:
                service = self._options.service_name or use.service
                group, before = f"{service}-{use.listener}", f"{service}-{use.renamed_from}"
                yield from needs.listens(use.listener, key, group, dedupes=use.dedupes)
                if use.renamed_from:
                    yield from needs.takes_over(key, before, group, dedupes=use.dedupes)

    def note_refused(self, message: EventMessage) -> None:
        """An event was refused: note the needs of firing it."""
        use = Use("fires", message.api_name, (message.event_name,))
        self._transport.know(str(use), self.needs(use))

    async def close(self) -> None:
        """Stop trimming and searching."""
        async with contextlib.AsyncExitStack() as closings:
            for stream in self._used.values():
                closings.push_async_callback(stream.lost.close)
                if stream.trimmer is not None:
                    closings.push_async_callback(stream.trimmer.close)
        self._used.clear()

    def _begin(self, key: str) -> Stream:
        """Note a stream that is used for the first time."""
        note(self._transport.pipe, [key])
        pipe, promise = self.pipe, self.promise
        store = pipe.post if promise is None else pipe.store
        most, drops = self._options.max_stream_length, self._options.when_full == "drop_oldest"
        trimmer = None if most is None else Trimmer(self._transport, key, most, drops=drops)
        stream = self._used[key] = Stream(key, pipe, promise, store, trimmer, LostEvents(pipe, key))
        return stream

    def _keys_of(self, use: Use) -> Sequence[str]:
        if use.role not in ("fires", "listens"):
            return ()
        per_api = self._stream_use == "per_api"
        names = [name for name in use.events if per_api or name != "*"]
        return [stream_key(use.name, name, self._stream_use) for name in names]
