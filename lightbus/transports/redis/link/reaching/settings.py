"""The settings of connections, as the Redis library wants them."""

from __future__ import annotations

import os
from typing import Any

from redis import asyncio as aioredis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from lightbus.exceptions import ConfigurationError
from lightbus.options import Secret, SecretUrl
from lightbus.transports.redis.options import DEFAULT_URL, RedisOptions, SentinelOptions, TlsOptions
from lightbus.transports.redis.url import SAYS, at_node, is_of_cluster, url_problem


def settings_of(options: RedisOptions, node: str | None = None) -> dict[str, Any]:
    """Return the arguments of redis-py's connection classes, with every retry and timeout set on purpose.

    Args:
        options: The address and the credentials.
        node: The node of a cluster that the connection leads to.

    Raises:
        ConfigurationError: They can't be used.
    """
    text = (options.url or SecretUrl(DEFAULT_URL)).current()
    problem = url_problem(text)
    if node is not None and problem is None:
        text = at_node(text, node) if is_of_cluster(text) else f"redis://{node}"
    try:
        settings: dict[str, Any] = dict(parse_url(text)) if problem is None else {}
    except ValueError:
        # Not quoted, since it may hold the password.
        settings, problem = {}, "an option after the ? has a value that it can't have"
    if problem is not None:
        raise ConfigurationError(f"the URL of Redis must be {SAYS}; {problem}")
    wrong = options.contradiction()
    if wrong is not None:
        raise ConfigurationError(f"the {wrong[0]} of Redis can't be used: {wrong[1]}")
    if options.username is not None:
        settings["username"] = options.username
    if options.password is not None:
        settings["password"] = _current(options.password)
    if options.tls is not None:
        if settings.get("connection_class") in (None, aioredis.SSLConnection):
            settings["connection_class"] = aioredis.SSLConnection
        settings |= _of_tls(options.tls)
    settings.update(
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        health_check_interval=0,
        # Connecting is bounded by the caller. A timeout here would go through asyncio.wait_for, which on
        # Python 3.11 can swallow a cancellation.
        socket_timeout=None,
        socket_connect_timeout=options.connect_timeout,
    )
    if options.sentinel is not None:
        if settings.pop("path", None) is not None:
            settings.pop("connection_class", None)
        settings.pop("host", None)
        settings.pop("port", None)
    if settings.get("path") is None:
        settings["socket_keepalive"] = True
    return settings


def _of_tls(tls: TlsOptions) -> dict[str, Any]:
    return {
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.cert_file,
        "ssl_keyfile": tls.key_file,
        "ssl_cert_reqs": "required" if tls.verify else "none",
        "ssl_check_hostname": tls.verify,
    }


def settings_of_sentinel(options: SentinelOptions, redis: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for a connection to a Sentinel: as to Redis, but for who asks and its TLS."""
    settings = {k: v for k, v in redis.items() if k not in ("username", "password", "db")}
    if options.tls is not None:
        settings = {k: v for k, v in settings.items() if k != "connection_class" and not k.startswith("ssl_")}
        if options.tls.enabled:
            settings |= {"connection_class": aioredis.SSLConnection, **_of_tls(options.tls)}
    settings |= {"username": options.username, "password": _current(options.password)}
    return settings


def find_files(tls: TlsOptions | None, key: str) -> None:
    """Refuse files that can't be read; the library would not say which."""
    for name in ("ca_file", "cert_file", "key_file") if tls is not None else ():
        path = getattr(tls, name)
        if path is not None and not os.access(path, os.R_OK):
            raise ConfigurationError(f"{path}, its {key}.{name}, does not exist or may not be read")


def _current(secret: Secret | None) -> str | None:
    return secret.current() if secret is not None else None
