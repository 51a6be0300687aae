"""The only place that opens a connection to Redis."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import hiredis
from redis import asyncio as aioredis
from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection

from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.options import Duration
from lightbus.transports.redis.options import HostPort, RedisOptions

from .reaching.discarding import discard
from .reaching.lookup import look_up
from .reaching.reasons import LOOPBACK, NoTls, connect_by_tls, is_known, is_tls, reason_of, words_of
from .reaching.sentinel import NoPrimary, primary
from .reaching.settings import find_files, settings_of, settings_of_sentinel
from .refusals import ReplyError, must_reconnect
from .remains import NAME, Remains

logger = logging.getLogger(__name__)

#: Seconds for which a blocking read waits before it is begun again, to find a dead link.
BLOCK = 2.0
#: Seconds after which a read is woken once more: the first wish may have overtaken it on its way to Redis.
WAKE_AGAIN = 0.05

_NOTHING: Any = object()

Commands = Sequence[tuple[Any, ...]]
#: Is given replies as they come.
Taker = Callable[[list[Any]], None]


class LinkBroken(TransportError):
    """The connection broke after a command was written and before its reply came."""


#: The errors that a command may raise.
FAILURES = (LinkBroken, ReplyError, TransportUnavailable)


def ignore_outcome(future: asyncio.Future[Any]) -> None:
    """Take note of an outcome that changes nothing, so that asyncio does not report it as lost."""
    if not future.cancelled():
        future.exception()


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turn errors of Redis into that of the ports; nobody tries again here.

    Raises:
        TransportUnavailable: The connection broke, or Redis refused the command.
    """
    try:
        yield
    except (LinkBroken, ReplyError) as e:
        raise TransportUnavailable(f"{what}: {e}") from None


class Connector:
    """Makes connections to one Redis.

    Args:
        options: Its address and credentials.
        node: The node of a cluster that is meant; left out, any of those in the options that answers.
    """

    def __init__(self, options: RedisOptions, node: HostPort | None = None) -> None:
        self._options = options
        self._node = node
        settings = settings_of(options, node or next(iter(options.seeds), None))
        #: Its address, without secrets.
        self.address: str = node or options.address
        #: The user.
        self.username = str(settings.get("username") or "default")
        #: Whether it is on this machine.
        self.is_local = bool(settings.get("path")) or settings.get("host", "localhost") in LOOPBACK

    async def connect(self) -> Wire:
        """Open a connection and do its handshake.

        Raises:
            TransportUnavailable: No answer, or the password is wrong; the message says which and where.
        """
        if self._node is None and self._options.is_cluster:
            return await self._connect_to_any()
        connection: AbstractConnection | None = None
        settings: dict[str, Any] = {}
        try:
            async with asyncio.timeout(self._options.connect_timeout):
                find_files(self._options.tls, "tls")
                # Made each time: a password that stands in a file may be another one by now.
                settings = settings_of(self._options, self._node)
                settings |= await self._ask_sentinel(settings)
                kind, given = settings.get("connection_class", aioredis.Connection), dict(settings)
                given.pop("connection_class", None)
                connection = kind(**given)
                if "path" not in given:
                    await look_up(given.get("host", "localhost"), given.get("port", 6379))
                await (connect_by_tls(connection, settings) if is_tls(settings) else connection.connect())
                # A server that asks for a password, or still loads its data, says so only to a command.
                await connection.send_command("PING")
                await connection.read_response()
                return Wire(connection, self.address)
        except BaseException as e:
            # The library leaves some open.
            if connection is not None:
                await discard(connection)
            if not isinstance(e, Exception):
                raise
            if isinstance(e, NoPrimary):
                said = await e.in_words()
                raise TransportUnavailable(f"Redis at {self.address} can't be reached: {said}") from None
            patience, address = self._options.connect_timeout, self.address
            if self._options.sentinel is not None and "host" in settings:
                address = f"{settings['host']}:{settings['port']}, as {address} says,"
            key = self._options.key_of_nodes
            told = TransportUnavailable(await reason_of(e, address, settings, patience, nodes=key))
            # An unexpected error is a fault, whose traceback is needed.
            raise told from (None if is_known(e) or isinstance(e, NoTls) else e)

    async def _connect_to_any(self) -> Wire:
        """Connect to the first node of a cluster that answers."""
        seeds = self._options.seeds
        # One that is silent must not take the time of those after it.
        share = Duration(self._options.connect_timeout / len(seeds))
        failure: TransportUnavailable | None = None
        for node in seeds:
            try:
                return await Connector(replace(self._options, connect_timeout=share), node).connect()
            except TransportUnavailable as e:
                failure = failure or e
        assert failure is not None  # noqa: S101 - a cluster without nodes was refused
        raise failure

    async def _ask_sentinel(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return where the primary is, where Sentinel has to be asked."""
        options, patience = self._options.sentinel, self._options.connect_timeout
        if options is None:
            return {}
        find_files(options.tls, "sentinel.tls")
        return await primary(
            options.service, options.nodes, settings_of_sentinel(options, settings), patience
        )


class Wire(asyncio.Protocol):
    """An open connection, from which many replies are read at once.

    The library connects: TLS, password, Sentinel and handshake are its own. From then on, the event loop
    hands what comes to this class. By way of the library's parser, each reply would take several coroutines,
    and by way of a stream, one more turn of the loop. Any error of the event loop, TLS or the parser on a
    broken connection becomes a :class:`LinkBroken` here, and only where replies are read.

    Args:
        connection: A connection after its handshake.
        address: Its address, without secrets.
    """

    def __init__(self, connection: AbstractConnection, address: str) -> None:
        self._connection = connection
        self._address = address
        #: Takes replies as they come, as many as there are; by default, they are kept for :meth:`read`.
        self.receive: Taker = self._keep
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(
            protocolError=redis_errors.InvalidResponse, replyError=ReplyError, notEnoughData=_NOTHING
        )
        self._failure: Exception | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._end: Exception | None = None
        self._replies: list[Any] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Taker | None = None
        self._due = math.inf
        self._watch: asyncio.TimerHandle | None = None
        stream, writer = connection._reader, connection._writer
        if stream is None or writer is None or stream.at_eof():
            raise EOFError
        if (error := stream.exception()) is not None:
            raise error
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def write(self, packed: bytes) -> None:
        """Send bytes; what the socket does not take at once is kept. Whoever reads hears that it broke."""
        try:
            # The event loop complains, in one way or another, about what is written to a broken connection.
            if not self._transport.is_closing():
                self._transport.write(packed)
        except Exception as e:
            self._failure = e
            self.abort()

    async def read(self, count: int, timeout: float, taker: Taker | None = None) -> list[Any]:
        """Return so many replies, waiting for them; one may be a :class:`ReplyError`.

        A taker is given them as soon as they have come, a turn of the event loop before this returns.

        Raises:
            LinkBroken: The connection broke.
            TimeoutError: They have not come in time.
        """
        if len(self._replies) >= count:
            if taker is not None:
                taker(self._replies)
        elif self._end is None:
            self._wanted, self._waiter, self._taker = count, self._loop.create_future(), taker
            self._watch_until(self._loop.time() + timeout)
            try:
                await self._waiter
            finally:
                self._waiter = None
        if len(self._replies) < count and self._end is not None:
            raise self._end
        replies, self._replies = self._replies, []
        return replies

    async def lost(self) -> NoReturn:
        """Wait until the connection breaks.

        Raises:
            LinkBroken: It has broken.
            Exception: What :attr:`receive` has raised.
        """
        await self._over
        raise self._end or self.broken("it was closed")

    def data_received(self, data: bytes) -> None:
        """Hand over the replies that have come."""
        if self._end is not None:
            return
        replies: list[Any] = []
        parser = self._parser
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _NOTHING:
                replies.append(reply)
        except Exception as e:
            self._finish(self._broken_by(e))
            return
        if replies:
            try:
                self.receive(replies)
            except Exception as e:
                self._finish(e)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever reads."""
        self._finish(self._broken_by(exc or EOFError()))

    def broken(self, reason: str) -> LinkBroken:
        """Return an error that says where the connection led and why it broke."""
        return LinkBroken(f"the connection to Redis at {self._address} broke: {reason}")

    def abort(self) -> None:
        """Break the connection: whoever reads gets an error."""
        try:
            self._transport.abort()
        except Exception as e:
            logger.debug("a connection to Redis at %s was broken already: %s", self._address, e)

    async def close(self) -> None:
        """Close it without waiting for the other side."""
        if self._watch is not None:
            self._watch.cancel()
        await discard(self._connection)

    def _keep(self, replies: list[Any]) -> None:
        self._replies += replies
        if self._waiter is not None and len(self._replies) >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)
            if self._taker is not None:
                self._taker(self._replies)

    def _finish(self, error: Exception) -> None:
        """Note the end, for which there is only one reason, and break what may still be open."""
        if self._end is not None:
            return
        self._end = error
        if not self._over.done():
            self._over.set_result(None)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self.abort()

    def _broken_by(self, error: Exception) -> LinkBroken:
        # That it was closed when it was written to, uvloop says in a way that helps nobody.
        told = error if self._failure is None or isinstance(self._failure, RuntimeError) else self._failure
        broken = self.broken(words_of(told) or "no answer in time")
        broken.__cause__ = None if is_known(told) else error
        return broken

    def _watch_until(self, due: float) -> None:
        """Look at a time whether the replies have come. One timer serves many readings, which are quicker."""
        self._due = due
        if self._watch is not None:
            if self._watch.when() <= due:
                return
            self._watch.cancel()
        self._watch = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due:
            self._watch_until(self._due)
        else:
            self._waiter.set_exception(TimeoutError())


class Link:
    """One connection for commands that block, which have it to themselves.

    Args:
        connector: Opens it, and opens it again after a failure.
        on_refusal: Is told of each refusal.
    """

    def __init__(self, connector: Connector, on_refusal: Callable[[ReplyError], None] | None = None) -> None:
        self._connector = connector
        self._on_refusal = on_refusal
        self._wire: Wire | None = None
        self._closings = 0
        #: Redis's number for this connection, for CLIENT UNBLOCK; None while there is none.
        self.client_id: int | None = None
        #: The connections before, which Redis may still have.
        self.remains = Remains()

    async def exchange(self, commands: Commands, timeout: float, taker: Taker | None = None) -> list[Any]:
        """Write commands at once and read their replies.

        Args:
            commands: Each a command with its arguments.
            timeout: Seconds after which the connection counts as dead; longer than the commands block.
            taker: Is given the replies before this returns, mostly a turn of the event loop sooner.

        Returns:
            A reply for each command; what Redis refused is a :class:`ReplyError` in its place.

        Raises:
            TransportUnavailable: There is no connection to be had.
            LinkBroken: The connection broke on the way.
        """
        if self._wire is None:
            closings, made = self._closings, await self._connector.connect()
            if closings != self._closings:  # Nobody would close this one.
                await made.close()
                raise made.broken("it was closed while it was made")
            self._wire = made
            # Not by way of a class that looks for another node.
            number, name = await Link.exchange(self, [("CLIENT", "ID"), NAME], timeout)
            self.client_id = number if isinstance(number, int) else None
            self.remains.note(name)
        wire = self._wire
        try:
            wire.write(b"".join(map(hiredis.pack_command, commands)))
            replies = await wire.read(len(commands), timeout, taker)
            refusals = [reply for reply in replies if isinstance(reply, ReplyError)]
            if any(map(must_reconnect, refusals)):
                await self.close()
            if self._on_refusal is not None:
                for refusal in refusals:
                    self._on_refusal(refusal)
            return replies
        except TimeoutError:
            await self.close()
            raise wire.broken(f"no reply within {timeout:g} s") from None
        except BaseException:
            # A cancelled read leaves a reply on the way: such a connection must not be used again.
            await self.close()
            raise

    def abort(self) -> None:
        """Break the connection: whoever reads gets an error."""
        if self._wire is not None:
            self._wire.abort()

    async def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        wire, self._wire, self.client_id = self._wire, None, None
        self._closings += 1
        self.remains.leave()
        if wire is not None:
            await wire.close()
