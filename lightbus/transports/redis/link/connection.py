"""The only place that opens a connection to Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import hiredis
from redis import asyncio as aioredis
from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection

from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.options import Duration
from lightbus.transports.redis.options import HostPort, RedisOptions

from .reaching.lookup import look_up
from .reaching.reasons import LOOPBACK, NoTls, doubt, is_known, is_tls, reason_of, words_of
from .reaching.sentinel import NoPrimary, primary
from .reaching.settings import find_files, settings_of, settings_of_sentinel
from .refusals import ReplyError, must_reconnect
from .remains import NAME, Remains

logger = logging.getLogger(__name__)

#: Seconds for which a blocking read waits before it is begun again, to find a dead link.
BLOCK = 2.0

_READ_SIZE = 256 * 1024
_NOTHING: Any = object()


class LinkBroken(TransportError):
    """The connection broke after a command was written and before its reply came."""


#: The errors that a command may raise.
FAILURES = (LinkBroken, ReplyError, TransportUnavailable)


def failure_of(sent: asyncio.Future[list[Any]]) -> BaseException | None:
    """Return what went wrong with commands that were sent, refusals included; None if nothing did."""
    if sent.cancelled():
        return None
    return sent.exception() or next((r for r in sent.result() if isinstance(r, ReplyError)), None)


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
                await (_connect_by_tls(connection, settings) if is_tls(settings) else connection.connect())
                # A server that asks for a password, or still loads its data, says so only to a command.
                await connection.send_command("PING")
                await connection.read_response()
                return Wire(connection, self.address)
        except BaseException as e:
            # The library leaves some open.
            if connection is not None:
                await _discard(connection)
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


class Wire:
    """An open connection, from which many replies are read at once.

    The library connects: TLS, password, Sentinel and handshake are its own. Replies then pass by its parser,
    which takes several coroutines for each. Any error of the event loop, TLS or the parser on a broken
    connection becomes a :class:`LinkBroken` here, and only where replies are read.

    Args:
        connection: A connection after its handshake.
        address: Its address, without secrets.
    """

    __slots__ = ("_address", "_connection", "_failure", "_parser", "_stream", "_writer")

    def __init__(self, connection: AbstractConnection, address: str) -> None:
        self._connection = connection
        self._address = address
        self._failure: Exception | None = None
        if connection._reader is None or connection._writer is None:
            raise EOFError
        self._stream = connection._reader
        self._writer = connection._writer
        self._parser = hiredis.Reader(
            protocolError=redis_errors.InvalidResponse, replyError=ReplyError, notEnoughData=_NOTHING
        )

    def write(self, packed: bytes) -> None:
        """Send bytes; what the socket does not take at once is kept. That it broke, :meth:`read` tells."""
        try:
            # The event loop complains, in one way or another, about what is written to a broken connection.
            if not self._writer.is_closing():
                self._writer.write(packed)
        except Exception as e:
            self._failure = e
            self.abort()

    async def read(self) -> list[Any]:
        """Return all replies that have come, waiting for the first; one may be a :class:`ReplyError`.

        Raises:
            LinkBroken: The connection broke.
        """
        replies: list[Any] = []
        try:
            while not replies:
                data = await self._stream.read(_READ_SIZE)
                if not data:
                    raise EOFError
                self._parser.feed(data)
                while (reply := self._parser.gets()) is not _NOTHING:
                    replies.append(reply)
        except Exception as e:
            # That it was closed when it was written to, uvloop says in a way that helps nobody.
            told = e if self._failure is None or isinstance(self._failure, RuntimeError) else self._failure
            raise self.broken(words_of(told) or "no answer in time") from (None if is_known(told) else e)
        return replies

    def broken(self, reason: str) -> LinkBroken:
        """Return an error that says where the connection led and why it broke."""
        return LinkBroken(f"the connection to Redis at {self._address} broke: {reason}")

    def abort(self) -> None:
        """Break the connection: whoever reads gets an error."""
        try:
            self._writer.transport.abort()
        except Exception as e:
            logger.debug("a connection to Redis at %s was broken already: %s", self._address, e)

    async def close(self) -> None:
        """Close it without waiting for the other side."""
        await _discard(self._connection)


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
        #: Redis's number for this connection, for CLIENT UNBLOCK; None while there is none.
        self.client_id: int | None = None
        #: The connections before, which Redis may still have.
        self.remains = Remains()

    async def exchange(self, commands: Sequence[tuple[Any, ...]], timeout: float) -> list[Any]:
        """Write commands at once and read their replies.

        Args:
            commands: Each a command with its arguments.
            timeout: Seconds after which the connection counts as dead; longer than the commands block.

        Returns:
            A reply for each command; what Redis refused is a :class:`ReplyError` in its place.

        Raises:
            TransportUnavailable: There is no connection to be had.
            LinkBroken: The connection broke on the way.
        """
        if self._wire is None:
            self._wire = await self._connector.connect()
            # Not by way of a class that looks for another node.
            number, name = await Link.exchange(self, [("CLIENT", "ID"), NAME], timeout)
            self.client_id = number if isinstance(number, int) else None
            self.remains.note(name)
        wire = self._wire
        try:
            async with asyncio.timeout(timeout):
                wire.write(b"".join(map(hiredis.pack_command, commands)))
                replies = await wire.read()
                while len(replies) < len(commands):
                    replies += await wire.read()
            refusals = [reply for reply in replies if isinstance(reply, ReplyError)]
            if refusals:
                await self._note_refusals(refusals)
            return replies
        except TimeoutError:
            await self.close()
            raise wire.broken(f"no reply within {timeout:g} s") from None
        except BaseException:
            # A cancelled read leaves a reply on the way: such a connection must not be used again.
            await self.close()
            raise

    async def _note_refusals(self, refusals: Sequence[ReplyError]) -> None:
        if any(map(must_reconnect, refusals)):
            await self.close()
        if self._on_refusal is not None:
            for refusal in refusals:
                self._on_refusal(refusal)

    def abort(self) -> None:
        """Break the connection: whoever reads gets an error."""
        if self._wire is not None:
            self._wire.abort()

    async def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        wire, self._wire, self.client_id = self._wire, None, None
        self.remains.leave()
        if wire is not None:
            await wire.close()


async def _connect_by_tls(connection: Any, settings: dict[str, Any]) -> None:
    """Connect, and find out meanwhile if no TLS is spoken there: else nothing but time would end that.

    Raises:
        NoTls: It is not.
    """
    connecting = asyncio.create_task(connection.connect(), name="lightbus redis tls")
    doubting = asyncio.create_task(doubt(settings), name="lightbus redis tls doubt")
    try:
        await asyncio.wait((connecting, doubting), return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            doubting.result()
            await asyncio.wait((connecting,))
        connecting.result()
    finally:
        for task in (connecting, doubting):
            task.cancel()
        # They end before the connection is closed, and asyncio is not to complain that nobody reads how.
        await asyncio.gather(connecting, doubting, return_exceptions=True)


async def _discard(connection: AbstractConnection) -> None:
    """Close a connection of which nothing is wanted any more, its last words included."""
    try:
        await connection.disconnect(nowait=True)
    except Exception as e:
        logger.debug("closing a connection to Redis: %s", words_of(e))
