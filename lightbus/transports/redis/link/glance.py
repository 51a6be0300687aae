"""A short look at a Redis, for a shell that completes a name: one socket, no event loop, nothing written.

The library that the transports use takes longer to import than somebody at a prompt should wait.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from lightbus.options import SecretUrl
from lightbus.transports.redis.keys import PER_API, SCHEMAS, STREAMS, schema_key
from lightbus.transports.redis.options import DEFAULT_URL, RedisOptions, SentinelOptions, TlsOptions

#: More is not read: names that a person chooses from are few.
_MOST_BYTES = 8 * 1024 * 1024
_MOST_NAMES = 1_000
_NOTHING: Any = object()


class Glance:
    """A connection for a moment. Any error ends it: whoever looks in passing has no use for reasons.

    Args:
        options: The address and the credentials.
        patience: Seconds for all that is asked.

    Raises:
        OSError: No answer in time, or none that can be read.
    """

    def __init__(self, options: RedisOptions, patience: float) -> None:
        self._options = options
        self._deadline = time.monotonic() + patience
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._socket: socket.socket | None = None
        try:
            self._open()
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
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()

    def ask(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Return the replies to commands, in their order; a refusal is an exception among them."""
        if self._socket is None:
            raise OSError("not connected")
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

    def api_names(self) -> list[str]:
        """Return the APIs that ever had a contract on the bus."""
        return self._members(SCHEMAS)

    def contracts(self, api_names: Iterable[str]) -> Mapping[str, Any]:
        """Return the contracts of some APIs, where they have one."""
        names = list(api_names)[:_MOST_NAMES]
        (blobs,) = self.ask([("MGET", *map(schema_key, names))]) if names else ([],)
        if not isinstance(blobs, list):
            return {}
        return {name: json.loads(blob) for name, blob in zip(names, blobs, strict=True) if blob is not None}

    def group_names(self) -> list[str]:
        """Return the groups of the streams that are noted; the others are not searched for."""
        streams = {*self._members(STREAMS), *(f"{name}{PER_API}" for name in self.api_names())}
        replies = self.ask([("XINFO", "GROUPS", stream) for stream in sorted(streams)[:_MOST_NAMES]])
        found = set()
        for groups in replies:
            for group in groups if isinstance(groups, list) else ():
                facts = dict(zip(group[::2], group[1::2], strict=True))
                found.add(facts[b"name"].decode("utf-8", "replace"))
        return sorted(found)

    def _open(self) -> None:
        options = self._options
        url = urlsplit((options.url or SecretUrl(DEFAULT_URL)).current())
        given = {name: values[0] for name, values in parse_qs(url.query).items()}
        tls = options.tls or (TlsOptions() if url.scheme == "rediss" else None)
        if options.sentinel is not None:
            self._connect(self._primary(options.sentinel, tls), tls)
        elif url.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(self._left())
            self._socket.connect(unquote(url.path))
        else:
            self._connect((unquote(url.hostname or "localhost"), url.port or 6379), tls)
        user = options.username or given.get("username") or unquote(url.username or "")
        password = given.get("password") or unquote(url.password or "")
        self._sign_in(user, options.password.current() if options.password else password)
        database = given.get("db") or (url.path.strip("/") if url.scheme != "unix" else "")
        if database not in ("", "0"):
            self.ask([("SELECT", database)])

    def _members(self, key: str) -> list[str]:
        (members,) = self.ask([("SMEMBERS", key)])
        return sorted(m.decode("utf-8", "replace") for m in members) if isinstance(members, list) else []

    def _connect(self, place: tuple[str, int], tls: TlsOptions | None) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._socket = socket.create_connection(place, self._left())
        if tls is not None:
            context = ssl.create_default_context(cafile=tls.ca_file)
            context.check_hostname = tls.verify
            context.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
            if tls.cert_file is not None:
                context.load_cert_chain(tls.cert_file, tls.key_file)
            self._socket = context.wrap_socket(self._socket, server_hostname=place[0])

    def _sign_in(self, user: str, password: str) -> None:
        if password:
            (reply,) = self.ask([("AUTH", user, password) if user else ("AUTH", password)])
            if isinstance(reply, Exception):
                raise OSError("it refuses the password")

    def _primary(self, options: SentinelOptions, tls: TlsOptions | None) -> tuple[str, int]:
        """Ask the Sentinels where the primary is; the first that knows it is believed."""
        if options.tls is not None:
            tls = options.tls if options.tls.enabled else None
        for node in options.nodes:
            host, _, port = node.rpartition(":")
            try:
                self._connect((host, int(port)), tls)
                self._sign_in(options.username or "", options.password.current() if options.password else "")
                (found,) = self.ask([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.service)])
            except OSError:
                continue  # The next one may be there.
            finally:
                self.close()
            if isinstance(found, list):
                return found[0].decode(), int(found[1])
        raise OSError("no Sentinel knows the primary")

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
