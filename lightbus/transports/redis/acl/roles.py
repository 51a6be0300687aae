"""The access that a process needs to one Redis: who it is there, and the needs of each of its roles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from lightbus.transports.port import Use
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.link.reaching.settings import settings_of
from lightbus.transports.redis.options import RedisOptions

EVERYBODY = "everybody"
_ROLES = {
    "hosts": "takes messages",
    "calls": "calls {name}",
    "fires": "owns {name}",
    "knows": "knows {name}",
    "listens": "listens to {name} as {service}-{listener}",
    "owns": "owns {name}",
    "publishes": "owns {name}",
    "runs": "runs the schedule {name}",
    "serves": "owns {name}",
    "shows": "is seen by those who look at the bus",
}


@dataclass(frozen=True, slots=True)
class Access:
    """The access of one process to one Redis.

    Args:
        address: The address of Redis, without secrets.
        username: The user, empty if none is named.
        digest: The SHA-256 of that user's password; empty if there is none.
        is_on_cluster: Whether that Redis is a cluster.
        roles: The needs of each role.
        with_1x: Those besides that only processes of Lightbus 1.x at the other end bring along.
    """

    address: str
    username: str
    digest: str
    is_on_cluster: bool
    roles: Mapping[str, tuple[Need, ...]]
    with_1x: Mapping[str, tuple[Need, ...]]


def role_of(use: Use) -> str:
    """Return the name of the role that a use belongs to."""
    return _ROLES[use.role].format(name=use.name, service=use.service, listener=use.listener)


def user_of(options: RedisOptions) -> tuple[str, str]:
    """Return the name of the user, empty for none, and the digest of the password, empty for none."""
    settings = settings_of(options, next(iter(options.seeds), None))
    return str(settings.get("username") or ""), digest_of(settings.get("password"))


def database_of(options: RedisOptions) -> int:
    """Return the number of the database."""
    return int(settings_of(options, next(iter(options.seeds), None)).get("db") or 0)


def digest_of(password: str | None) -> str:
    """Return the form in which Redis keeps a password; empty for none."""
    return hashlib.sha256(password.encode()).hexdigest() if password else ""
