"""A short look at a Redis, for a shell that completes a name: plain sockets, no event loop, nothing written.

The library that the transports use takes longer to import than somebody at a prompt should wait.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from operator import itemgetter
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from lightbus.options import SecretUrl
from lightbus.transports.redis.keys import PER_API, SCHEMAS, STREAMS, is_stream, schema_key
from lightbus.transports.redis.options import DEFAULT_URL, RedisOptions, SentinelOptions, TlsOptions

from .cluster.slots import slot_of_command

#: More is not read: names that a person chooses from are few.
_MOST_BYTES = 8 * 1024 * 1024
_MOST_NAMES = 1_000
_NOTHING: Any = object()
#: A host and a port, or the path of a socket of this machine.
Place = tuple[str, int] | str


class Glance:
    """Connections for a moment. Any error ends them: whoever looks in passing has no use for reasons.

    Args:
        options: The address and the credentials.
        patience: Seconds for all that is asked.

    Raises:
        OSError: No answer in time, or none that can be read.
    """

    def __init__(self, options: RedisOptions, patience: float) -> None:
        self._options = options
        self._deadline = time.monotonic() + patience
        self._lines: dict[Place, _Line] = {}
        #: On a cluster, the first slot and the place of each range.
        self._ranges: list[tuple[int, Place]] = []
        try:
            self._line = self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        for line in self._lines.values():
            line.close()

    def ask(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Return the replies to commands, in their order; a refusal is an exception among them."""
        asked: dict[int, list[int]] = {}
        lines = [self._line_of(command) for command in commands]
        for number, line in enumerate(lines):
            asked.setdefault(id(line), []).append(number)
        replies: list[Any] = [None] * len(commands)
        for numbers in asked.values():
            found = lines[numbers[0]].ask([commands[number] for number in numbers])
            for number, reply in zip(numbers, found, strict=True):
                replies[number] = reply
        return replies

    def api_names(self) -> list[str]:
        """Return the APIs that ever had a contract on the bus."""
        return self._members(SCHEMAS)

    def contracts(self, api_names: Iterable[str]) -> Mapping[str, Any]:
        """Return the contracts of some APIs, where they have one."""
        names = list(api_names)[:_MOST_NAMES]
        blobs = self.ask([("GET", schema_key(name)) for name in names])
        return {name: json.loads(b) for name, b in zip(names, blobs, strict=True) if isinstance(b, bytes)}

    def group_names(self) -> list[str]:
        """Return the groups of the streams that are noted; the others are not searched for."""
        noted = filter(is_stream, self._members(STREAMS))
        streams = {*noted, *(f"{name}{PER_API}" for name in self.api_names())}
        replies = self.ask([("XINFO", "GROUPS", stream) for stream in sorted(streams)[:_MOST_NAMES]])
        found = set()
        for groups in replies:
            for group in groups if isinstance(groups, list) else ():
                facts = dict(zip(group[::2], group[1::2], strict=True))
                found.add(facts[b"name"].decode("utf-8", "replace"))
        return sorted(found)

    def _members(self, key: str) -> list[str]:
        (members,) = self.ask([("SMEMBERS", key)])
        return sorted(m.decode("utf-8", "replace") for m in members) if isinstance(members, list) else []

    def _line_of(self, command: Sequence[str]) -> _Line:
        """Return the connection to the node that has the key of a command."""
        slot = slot_of_command(tuple(command)) if self._ranges else -1
        if slot < 0:
            return self._line
        place = self._ranges[bisect_right(self._ranges, slot, key=itemgetter(0)) - 1][1]
        return self._lines.get(place) or self._connect(place)

    def _open(self) -> _Line:
        options = self._options
        if options.is_cluster:
            return self._first_node()
        url = urlsplit((options.url or SecretUrl(DEFAULT_URL)).current())
        if options.sentinel is not None:
            return self._connect(self._primary(options.sentinel, self._tls()))
        if url.scheme == "unix":
            return self._connect(unquote(url.path))
        return self._connect((unquote(url.hostname or "localhost"), url.port or 6379))

    def _first_node(self) -> _Line:
        """Connect to the first node of the cluster that answers, and learn which node has which slots."""
        for node in self._options.seeds:
            host, _, port = node.rpartition(":")
            try:
                line = self._connect((host, int(port)))
                (ranges,) = line.ask([("CLUSTER", "SLOTS")])
            except OSError:
                continue  # The next one may be there.
            if isinstance(ranges, list):
                # A node that has no name for itself leaves its host empty: it is the one that was asked.
                self._ranges = sorted(
                    (first, ((node[0] or b"").decode() or host, node[1])) for first, _, node, *_ in ranges
                )
                return line
        raise OSError("no node of the cluster answers")

    def _tls(self) -> TlsOptions | None:
        options = self._options
        url = (options.url or SecretUrl(DEFAULT_URL)).current()
        return options.tls or (TlsOptions() if url.startswith("rediss") else None)

    def _connect(self, place: Place) -> _Line:
        """Connect to Redis and sign in."""
        url = urlsplit((self._options.url or SecretUrl(DEFAULT_URL)).current())
        given = {name: values[0] for name, values in parse_qs(url.query).items()}
        line = self._lines[place] = _Line(place, self._tls(), self._deadline)
        user = self._options.username or given.get("username") or unquote(url.username or "")
        password = given.get("password") or unquote(url.password or "")
        line.sign_in(user, self._options.password.current() if self._options.password else password)
        database = given.get("db") or (url.path.strip("/") if url.scheme != "unix" else "")
        if database not in ("", "0"):
            line.ask([("SELECT", database)])
        return line

    def _primary(self, options: SentinelOptions, tls: TlsOptions | None) -> tuple[str, int]:
        """Ask the Sentinels where the primary is; the first that knows it is believed."""
        if options.tls is not None:
            tls = options.tls if options.tls.enabled else None
        for node in options.nodes:
            host, _, port = node.rpartition(":")
            try:
                with closing(_Line((host, int(port)), tls, self._deadline)) as line:
                    line.sign_in(
                        options.username or "", options.password.current() if options.password else ""
                    )
                    (found,) = line.ask([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.service)])
            except OSError:
                continue  # The next one may be there.
            if isinstance(found, list):
                return found[0].decode(), int(found[1])
        raise OSError("no Sentinel knows the primary")


class _Line:
    """One connection.

    Args:
        place: A host and a port, or the path of a socket of this machine.
        tls: Its certificates; None for a connection without TLS.
        deadline: When nothing is waited for any more, by the monotonic clock.
    """

    def __init__(self, place: Place, tls: TlsOptions | None, deadline: float) -> None:
        self._deadline = deadline
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        if isinstance(place, str):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(self._left())
            self._socket.connect(place)
            return
        self._socket = socket.create_connection(place, self._left())
        if tls is not None:
            context = ssl.create_default_context(cafile=tls.ca_file)
            context.check_hostname = tls.verify
            context.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
            if tls.cert_file is not None:
                context.load_cert_chain(tls.cert_file, tls.key_file)
            self._socket = context.wrap_socket(self._socket, server_hostname=place[0])

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def sign_in(self, user: str, password: str) -> None:
        """Give the password, if there is one."""
        if password:
            (reply,) = self.ask([("AUTH", user, password) if user else ("AUTH", password)])
            if isinstance(reply, Exception):
                raise OSError("it refuses the password")

    def ask(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Return the replies to commands, in their order; a refusal is an exception among them."""
        self._socket.settimeout(self._left())
        # Its stub means a tuple of one.
        packed = [hiredis.pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
        self._socket.sendall(b"".join(packed))
        replies: list[Any] = []
        size = 0
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is not _NOTHING:
                replies.append(reply)
                continue
            self._socket.settimeout(self._left())
            data = self._socket.recv(65_536)
            size += len(data)
            if not data or size > _MOST_BYTES:
                raise OSError("it ended, or says too much")
            self._reader.feed(data)
        return replies

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
