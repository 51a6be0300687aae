"""The URL of a Redis: read strictly, since a character that is misread sends part of a password to DNS."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

from lightbus.options import ESCAPE, misread

#: The form of a URL, in words.
SAYS = "a URL such as redis://host:6379/0, rediss://host:6379/0 or unix:///path"

_OF_TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_SCHEMES = ("redis", "rediss", "unix")
#: Another product's scheme, but no password that happens to have :// in it.
_SCHEME = re.compile(r"[a-z]{1,10}([+-][a-z]{1,10})?", re.ASCII | re.IGNORECASE)
_PLACE = re.compile(r"[A-Za-z0-9.-]{1,253}:[0-9]{1,5}(/[0-9]{1,3})?", re.ASCII)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]|[^\[\]:%]+")
_END_OF_HOST = re.compile(r"[/?]")


def url_problem(url: str) -> str | None:
    """Say why a URL of Redis can't be used, or None if it can; no secret of it is in the text.

    The text repeats nothing that could be part of a password. That includes a port, path or query that can't
    be read, since a password with an unescaped character ends up there.

    Args:
        url: The URL, which may be anything.
    """
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        example = f": write redis://{url}" if _PLACE.fullmatch(url) else ""
        return f"it does not begin with redis://, rediss:// or unix://{example}"
    if scheme not in _SCHEMES:
        seen = f", but with {scheme}://" if _SCHEME.fullmatch(scheme) else ""
        return f"it does not begin with redis://, rediss:// or unix://{seen}"
    return misread(url) or (_of_socket(rest) if scheme == "unix" else _of_host(rest)) or _of_query(url)


def place_of(url: str) -> str:
    """Return the place that a URL of Redis leads to, as ``host:port/db`` or ``path/db``, without secrets.

    Args:
        url: The URL; of one with a :func:`url_problem`, nothing is repeated.
    """
    if url_problem(url) is not None:
        return "a URL that can't be used"
    parts = urlsplit(url)
    is_socket = parts.scheme == "unix"
    at = unquote(parts.path) if is_socket else f"{unquote(parts.hostname or '')}:{parts.port or 6379}"
    numbers = [*parse_qs(parts.query).get("db", ()), "" if is_socket else parts.path.strip("/"), "0"]
    return f"{at}/{int(next(filter(None, numbers)))}"


def _of_socket(rest: str) -> str | None:
    before, slash, _ = rest.partition("?")[0].partition("/")
    if (before and not before.endswith("@")) or not slash:
        # Also where a / in a password is taken for the beginning of the path.
        return "the path of a socket begins with a third slash: unix:///run/redis.sock"
    return None


def _of_host(rest: str) -> str | None:
    end = _END_OF_HOST.search(rest)
    authority = rest[: end.start()] if end else rest
    if "@" in rest[len(authority) :]:
        return f"it has an @ after a / or ?, which end its host; {ESCAPE}"
    place = authority.rpartition("@")[2]
    host = _HOST.match(place)
    if host is None:
        return "it names no host, as in redis://user:password@host:6379/0"
    left = place[host.end() :]
    if left.startswith(":") and not _is_port(left[1:]):
        return f"the port after {host[0][:80]!r} is no number from 1 to 65535"
    if left and not left.startswith(":"):
        return "its host can't be read"
    path = rest[len(authority) :].partition("?")[0].strip("/")
    if path and not _is_number(path):
        return "after the host and the slash stands no number of a database, such as 0"
    return None


def _of_query(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        given = parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        # It looks for characters that Unicode turns into / or @. Its own text has the password.
        return "it has a character that no URL may have; write it with %, as UTF-8"
    if not given.keys() <= {"db", "username", "password", *(_OF_TLS if parts.scheme == "rediss" else ())}:
        return (
            "there are no options after a ? but db, username, password and, for rediss, ssl_..., and a ? in "
            "a password is written %3F"
        )
    if not all(map(_is_number, given.get("db", ()))):
        return "the db after the ? is no number"
    return None


def _is_port(text: str) -> bool:
    return not text or (_is_number(text) and 0 < int(text[:6]) < 65536)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
