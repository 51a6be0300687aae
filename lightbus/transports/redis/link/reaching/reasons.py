"""Why there is no connection to Redis, in words that help."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Literal

from redis import exceptions as redis_errors

from lightbus.exceptions import ConfigurationError
from lightbus.runtime.cancellation import end_all
from lightbus.transports.redis.link.refusals import REFUSALS, code_of, explain

#: The errors that the library makes of a refused handshake, each with its code.
_REFUSED_AT_FIRST: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.AuthenticationError, "WRONGPASS"),
    (redis_errors.NoPermissionError, "NOPERM"),
    (redis_errors.BusyLoadingError, "LOADING"),
    (redis_errors.MasterDownError, "MASTERDOWN"),
)
#: The errors of a connection that are no fault of Lightbus. Others are told with their types: uvloop, for
#: instance, raises a RuntimeError for a write just after the other side has closed.
_KNOWN = (
    *(redis_errors.ConnectionError, redis_errors.TimeoutError, redis_errors.ResponseError),
    *(redis_errors.InvalidResponse, ConfigurationError, OSError, EOFError, ValueError),
)
_CLOSED = "the server closed the connection"
#: The errors of the operating system in our words: those of a library say more of it than of what happened.
_BY_NUMBER = {
    errno.ECONNREFUSED: "nobody listens there",
    errno.ENOENT: "there is no such socket",
    errno.EACCES: "this user may not use that socket",
    errno.ECONNRESET: _CLOSED,
    errno.EPIPE: _CLOSED,
    errno.ETIMEDOUT: "it does not answer",
    errno.EHOSTUNREACH: "no network leads there",
    errno.ENETUNREACH: "no network leads there",
}
#: As asyncio tells of several addresses of one host, each with its own error.
_NUMBER = re.compile(r"\[Errno (\d+)\]")
#: The refusals of which the meaning says all that the words of the server do.
_PLAIN = ("NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN", "MAXCLIENTS")
#: The names of this machine.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Seconds without an answer to a first word of TLS, after which the port is asked whether it speaks any.
_DOUBTED_AFTER = 1.0
#: The most seconds for finding out the protocol of a port.
_ASKING = 2.5
#: Seconds to wait for a server that speaks first: it has too many clients.
_UNASKED = 0.1
_START = "start it, or say where it is with bus.redis.url in lightbus.yaml or LIGHTBUS__BUS__REDIS__URL"
#: Added for those who may never have had one.
_BROUGHT = " (with the extra 'embedded', `lightbus run` can bring one)"
_LOOK = "its log may say why; is that the port of a Redis, as in bus.redis.url?"
_ALLOW = "let it read and write there, or name another one in bus.redis.url"
_TLS_THERE = "it speaks TLS there; write rediss:// in bus.redis.url"
_OTHER_PROTOCOL = "what it says is not the protocol of Redis"
_NAME_REDIS = "name the port of a Redis in bus.redis.url"
_NO_DATABASE = "it has no database of that number; correct the end of bus.redis.url"
_OTHER_NAMES = "its certificate names other hosts; write one of them in bus.redis.url"
_NOT_TRUSTED = "its certificate is not trusted here; give its issuer's certificate as bus.redis.tls.ca_file"
_NOT_TAKEN = "it does not take the certificate of this process; correct bus.redis.tls.cert_file and key_file"
_NO_TLS = (
    "it speaks no TLS there; write redis:// in bus.redis.url and leave bus.redis.tls out, or name a TLS port"
)
_ASKED_FOR_ONE = (
    "it ended the connection after TLS was agreed, and its log says why; perhaps it wants a certificate of "
    "this process, or another one: bus.redis.tls.cert_file and key_file"
)
#: The faults of TLS by the words of OpenSSL, with the remedy of each; the first that fits counts.
_TLS = (
    ("CERTIFICATE_VERIFY_FAILED", "Hostname mismatch", _OTHER_NAMES),
    ("CERTIFICATE_VERIFY_FAILED", "IP address mismatch", _OTHER_NAMES),
    ("CERTIFICATE_VERIFY_FAILED", "expired", "its certificate has expired; renew it on the server"),
    ("CERTIFICATE_VERIFY_FAILED", "", _NOT_TRUSTED),
    ("KEY_VALUES_MISMATCH", "", "tls.key_file is not the key of the certificate in tls.cert_file"),
    ("NO_CERTIFICATE_OR_CRL_FOUND", "", "tls.ca_file holds no certificate; give one in PEM format"),
    ("PEM", "", "tls.cert_file or tls.key_file is not in PEM format"),
    ("ALERT", "", _NOT_TAKEN),
)
#: After these, nobody listens at the port.
_NOBODY = (ConnectionRefusedError, FileNotFoundError, PermissionError, socket.gaierror)
_OTHER_TLS = "compare bus.redis.tls with the tls settings of that server"


class NoTls(Exception):
    """TLS was begun with a server that speaks none."""


async def connect_by_tls(connection: Any, settings: dict[str, Any]) -> None:
    """Connect, and find out meanwhile if no TLS is spoken there: else nothing but time would end that.

    Raises:
        NoTls: It is not.
    """
    connecting = asyncio.create_task(connection.connect(), name="lightbus redis tls")
    doubting = asyncio.create_task(_doubt(settings), name="lightbus redis tls doubt")
    try:
        await asyncio.wait((connecting, doubting), return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            doubting.result()
            await asyncio.wait((connecting,))
        connecting.result()
    finally:
        # They end before the connection is closed.
        await end_all((connecting, doubting))


async def _doubt(settings: dict[str, Any]) -> None:
    """Find out that a port speaks no TLS while that is begun there: such a server only waits for more.

    Args:
        settings: The settings that the library got.

    Raises:
        NoTls: It speaks none.
    """
    await asyncio.sleep(_DOUBTED_AFTER)
    if await _is_plain(settings):
        raise NoTls


async def reason_of(
    error: Exception,
    address: str,
    settings: dict[str, Any],
    patience: float,
    who: str = "Redis",
    options: str = "bus.redis",
    nodes: str = "",
) -> str:
    """Say why there is no connection, and what to do.

    Args:
        error: The error of connecting.
        address: The address, for people.
        settings: The settings that the library got; empty if it was not reached.
        patience: Seconds after which connecting was given up.
        who: The name of the server.
        options: The key of its options in the manifest.
        nodes: The key that names the nodes of the cluster that it belongs to.
    """
    text = await _reason(error, f"{who} at {address}", settings, patience)
    if who == "Redis" and nodes:
        return _about_nodes(text, nodes)
    if who == "Redis":
        return text.replace(_START, f"{_START}{_BROUGHT}") if settings.get("host") in LOOPBACK else text
    return (
        text.replace(f"; {_START}", "")
        .replace("bus.redis.url", f"{options}.nodes")
        .replace("bus.redis.tls", f"{options}.tls")
    )


def _about_nodes(text: str, nodes: str) -> str:
    """Say of a node of a cluster what is said of one Redis, with the remedies that there are."""
    text = text.replace(_START, f"start it, or name other nodes in {nodes}")
    if nodes == "bus.redis.url":
        return text.replace("redis://", "redis+cluster://").replace("rediss://", "rediss+cluster://")
    text = text.replace(_TLS_THERE, "it speaks TLS there; set bus.redis.tls, if only to {}")
    text = text.replace("write redis:// in bus.redis.url and leave", "leave")
    return text.replace("bus.redis.url", nodes)


async def _reason(error: Exception, address: str, settings: dict[str, Any], patience: float) -> str:
    refused = _refusal(error)
    if refused:
        return f"{address} can't be used: {refused}"
    if isinstance(error, NoTls):
        return f"{address} can't be used: {_NO_TLS}"
    cause = next((e for e in _causes(error) if isinstance(e, ssl.SSLError)), None)
    if cause is not None:
        found = _tls_fault(cause)
        if found != _OTHER_TLS or not await _is_plain(settings):
            return f"{address} can't be reached by TLS: {_words(cause)}: {found}"
    spoken = await _what_is_wrong_with(error, settings)
    if spoken:
        return f"{address} can't be used: {spoken}"
    unknown = next((e for e in _causes(error) if isinstance(e, socket.gaierror)), None)
    if unknown is not None:
        return f"{address} can't be reached: {unknown.strerror}; correct the host in bus.redis.url"
    if isinstance(error, redis_errors.InvalidResponse):
        return f"{address} can't be used: {_OTHER_PROTOCOL}; {_NAME_REDIS}"
    reason = words_of(error) or f"no answer within {patience:g} s"
    number = _number_of(error)
    if number == errno.EACCES:
        return f"{address} can't be reached: {reason}; {_ALLOW}"
    is_there = reason == _CLOSED or number in (errno.ECONNRESET, errno.EPIPE)
    return f"{address} can't be reached: {reason}; {_LOOK if is_there else _START}"


def is_tls(settings: dict[str, Any]) -> bool:
    """Tell whether the library is to speak TLS with these settings."""
    kind = settings.get("connection_class")
    return "ssl_cert_reqs" in settings or "SSL" in getattr(kind, "__name__", "")


def is_known(error: Exception) -> bool:
    """Tell whether a connection may fail in this way without a fault of Lightbus or of its libraries."""
    return isinstance(error, _KNOWN)


def words_of(error: Exception) -> str:
    """Say how a connection failed, never in the words of a library; empty where time was up.

    A fault of Lightbus or of a library, which nobody has words for, is told with its type.
    """
    if not is_known(error):
        return f"{type(error).__name__}: {str(error).rstrip('.')}"
    number = _number_of(error)
    if number is not None:
        return _BY_NUMBER.get(number) or os.strerror(number)
    if any(isinstance(e, TimeoutError | redis_errors.TimeoutError) for e in _causes(error)):
        return ""
    if isinstance(error, redis_errors.InvalidResponse):
        return _OTHER_PROTOCOL
    if isinstance(error, EOFError | redis_errors.ConnectionError | OSError):
        return _CLOSED
    return str(error).rstrip(".")


def _number_of(error: BaseException) -> int | None:
    """Return the number of the operating system's error that is behind an error; None if none is."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError | socket.gaierror):
            found = _NUMBER.search(str(cause)) if cause.errno is None else None
            number = int(found[1]) if found is not None else cause.errno
            if number is not None:
                return number
    return None


def _refusal(error: Exception) -> str:
    """Return the answer of the server with its meaning; empty if there was none."""
    code = next((code for kind, code in _REFUSED_AT_FIRST if isinstance(error, kind)), code_of(str(error)))
    if code == "WRONGPASS" and "required" in str(error):
        code = "NOAUTH"
    if "DB index" in str(error):
        return _NO_DATABASE
    if code in _PLAIN:
        return REFUSALS[code].means
    if code in REFUSALS or isinstance(error, ConfigurationError | redis_errors.ResponseError):
        return explain(str(error), code)
    return ""


def _tls_fault(error: ssl.SSLError) -> str:
    text = f"{error.reason} {error}"
    return next((what for code, more, what in _TLS if code in text and more in text), _OTHER_TLS)


def _words(error: ssl.SSLError) -> str:
    """Return the words of OpenSSL, without the place in its code."""
    text = str(error.args[-1] if error.args else error)
    return text.partition("] ")[2].partition(" (_ssl")[0].rstrip(".") or text


async def _what_is_wrong_with(error: Exception, settings: dict[str, Any]) -> str:
    """Find out the protocol of a port that was reached, but gave no answer that can be read."""
    if any(isinstance(e, _NOBODY) for e in _causes(error)):
        return ""
    if is_tls(settings):
        if await _is_plain(settings):
            return _NO_TLS
        return "" if isinstance(error, TimeoutError) else _ASKED_FOR_ONE
    # A host that is silent is not asked once more.
    spoken = "" if isinstance(error, TimeoutError) else await _spoken_at(settings)
    if spoken == "full":
        return explain("max number of clients reached")
    return _TLS_THERE if spoken == "tls" else ""


async def _is_plain(settings: dict[str, Any]) -> bool:
    """Tell whether a port answers without TLS, be it that it has too many clients."""
    return await _spoken_at(settings, or_tls=False) in ("redis", "full")


async def _spoken_at(settings: dict[str, Any], *, or_tls: bool = True) -> Literal["redis", "full", "tls", ""]:
    """Return the protocol of a port; empty if it can't be told."""
    host, port = settings.get("host"), settings.get("port")
    if settings.get("path") or not host or not port:
        return ""
    try:
        async with asyncio.timeout(_ASKING):
            said = await _ask(host, port)
            if b"max number of clients" in said:
                return "full"
            if said.startswith((b"+", b"-")):
                return "redis"
            return "tls" if or_tls and await _takes_tls(host, port) else ""
    except (OSError, TimeoutError):
        return ""


async def _ask(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        try:
            async with asyncio.timeout(_UNASKED):
                return await reader.read(256)
        except TimeoutError:
            writer.write(b"PING\r\n")
            return await reader.read(256)
    except OSError:
        return b""
    finally:
        writer.close()


async def _takes_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    # Nothing is sent: only whether there is TLS is asked.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as e:
        return "ALERT" in str(e)
    # To close it would be to wait for the other side's last words, and the event loop may end before.
    writer.transport.abort()
    return True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
