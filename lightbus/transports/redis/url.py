"""The URL of a Redis: read strictly, since a character that is misread sends part of a password to DNS."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, unquote, urlsplit

from lightbus.options import ESCAPE, misread

#: The form of a URL, in words.
SAYS = "a URL such as redis://host:6379/0, rediss://host:6379/0 or unix:///path"
#: The port of a Redis that names none.
PORT = 6379

_OF_TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
#: The schemes of a cluster, each with that of one of its nodes.
_CLUSTERS = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
_SCHEMES = ("redis", "rediss", "unix", *_CLUSTERS)
#: Another product's scheme, but no password that happens to have :// in it.
_SCHEME = re.compile(r"[a-z]{1,10}([+-][a-z]{1,10})?", re.ASCII | re.IGNORECASE)
_PLACE = re.compile(r"[A-Za-z0-9.-]{1,253}:[0-9]{1,5}(/[0-9]{1,3})?", re.ASCII)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]|[^\[\]:%]+")
#: The address of a cluster, for people.
_CLUSTER = re.compile(r"cluster \((.+)\)")
_END_OF_HOST = re.compile(r"[/?]")
_HAS_PORT = re.compile(r":[0-9]+\Z", re.ASCII)


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
    if scheme in _CLUSTERS:
        return misread(url) or _of_nodes(rest) or _of_query(at_node(url, "host"))
    return misread(url) or (_of_socket(rest) if scheme == "unix" else _of_host(rest)) or _of_query(url)


def is_of_cluster(url: str) -> bool:
    """Tell whether a URL names nodes of a cluster."""
    return url.partition("://")[0] in _CLUSTERS


def nodes_of(url: str) -> tuple[str, ...]:
    """Return the nodes that the URL of a cluster names, each as ``host:port``."""
    places = _END_OF_HOST.split(url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2].split(",")
    return tuple(place if _HAS_PORT.search(place) else f"{place.rstrip(':')}:{PORT}" for place in places)


def at_node(url: str, node: str) -> str:
    """Return the URL of one node of a cluster, with the credentials and options of the cluster's URL."""
    scheme, _, rest = url.partition("://")
    authority = _END_OF_HOST.split(rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    return f"{_CLUSTERS[scheme]}://{user}{at}{node}{rest[len(authority) :]}"


def place_of(url: str) -> str:
    """Return the place that a URL of Redis leads to, as ``host:port/db`` or ``path/db``, without secrets.

    Args:
        url: The URL; of one with a :func:`url_problem`, nothing is repeated.
    """
    if url_problem(url) is not None:
        return "a URL that can't be used"
    if is_of_cluster(url):
        return place_of_cluster(nodes_of(url))
    parts = urlsplit(url)
    is_socket = parts.scheme == "unix"
    at = unquote(parts.path) if is_socket else f"{unquote(parts.hostname or '')}:{parts.port or 6379}"
    numbers = [*parse_qs(parts.query).get("db", ()), "" if is_socket else parts.path.strip("/"), "0"]
    return f"{at}/{int(next(filter(None, numbers)))}"


def place_of_cluster(nodes: Iterable[str]) -> str:
    """Return the address of a cluster, for people."""
    return f"cluster ({', '.join(nodes)})"


def url_at(place: str) -> str:
    """Return a URL, without credentials, of a place that :func:`place_of` has told; empty where none is."""
    cluster = _CLUSTER.fullmatch(place)
    if cluster is not None:
        return f"redis+cluster://{cluster[1].replace(', ', ',')}"
    if place.startswith("/"):
        path, _, database = place.rpartition("/")
        return f"unix://{path}?db={database}"
    host, _, rest = place.rpartition(":")
    url = f"redis://[{host}]:{rest}" if ":" in host else f"redis://{place}"
    return url if url_problem(url) is None else ""


def _of_nodes(rest: str) -> str | None:
    authority = _END_OF_HOST.split(rest, maxsplit=1)[0]
    end, (user, at, places) = rest[len(authority) :], authority.rpartition("@")
    if "@" not in end and end.partition("?")[0].strip("/") not in ("", "0"):
        return "a cluster has no database but 0: leave out what follows the slash"
    # Each as if it stood alone, so that what ends a host is found in the same way.
    problems = (_of_host(f"{user}{at}{place}{end}") for place in places.split(","))
    return next(filter(None, problems), None)


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
