"""Asking Sentinel for the primary, one node after the other, and reporting the answer of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import asyncio as aioredis
from redis import exceptions as redis_errors

from lightbus.transports.redis.link.refusals import code_of
from lightbus.transports.redis.options import HostPort

from .discarding import discard
from .lookup import look_up
from .reasons import reason_of

_DOWN = ("s_down", "o_down", "disconnected")


class NoPrimary(Exception):
    """No Sentinel names a primary that is up.

    Args:
        said: Each node with its answer, or with the error of asking it.
        settings: The settings of the connections.
        patience: Seconds after which each was given up.
    """

    def __init__(
        self, said: Sequence[tuple[str, str | Exception]], settings: dict[str, Any], patience: float
    ) -> None:
        super().__init__("no Sentinel names a primary that is up")
        self.said = said
        self.settings = settings
        self.patience = patience

    async def in_words(self) -> str:
        """Return the answer of each node; finds out the protocol of ports that gave none."""
        words = []
        for node, said in self.said:
            if isinstance(said, Exception):
                host, port = host_port(node)
                asked = {**self.settings, "host": host, "port": port}
                said = await reason_of(said, node, asked, self.patience, "Sentinel", "bus.redis.sentinel")
            words.append(said)
        return "; ".join(words)


async def primary(
    service: str, nodes: Sequence[HostPort], settings: dict[str, Any], patience: float
) -> dict[str, Any]:
    """Return the host and the port of the primary, as settings of a connection.

    Args:
        service: The name that Sentinel has for it.
        nodes: The Sentinels.
        settings: The settings of the connections.
        patience: Seconds for all of them.

    Raises:
        NoPrimary: None of them names one that is up.
    """
    said: list[tuple[str, str | Exception]] = []
    # One that is silent must not take the time of those after it, nor that of connecting to the primary.
    share = patience / (len(nodes) + 1)
    for node in nodes:
        try:
            async with asyncio.timeout(share):
                found = await _ask(node, service, settings)
        except Exception as e:
            said.append((node, e))
            continue
        if not isinstance(found, str):
            return {"host": found[0], "port": found[1]}
        said.append((node, f"Sentinel at {node} {found}"))
    raise NoPrimary(said, settings, share)


def host_port(node: str) -> tuple[str, int]:
    """Return the host and the port of a node."""
    host, _, port = node.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else (node, 26379)


async def _ask(node: str, service: str, settings: dict[str, Any]) -> tuple[str, int] | str:
    """Return the primary's host and port, or the other answer of this node."""
    given = dict(settings)
    kind = given.pop("connection_class", aioredis.Connection)
    host, port = host_port(node)
    connection: Any = kind(host=host, port=port, **given)
    try:
        await look_up(host, port)
        await connection.connect()
        try:
            state = await _send(connection, "MASTER", service)
        except redis_errors.ResponseError as e:
            if code_of(str(e)) not in ("", "ERR") or "No such master" not in str(e):
                raise
            names = sorted(_as_map(one).get("name", "") for one in await _send(connection, "MASTERS"))
            return f"knows no primary {service!r}, but {', '.join(names) or 'none at all'}"
    finally:
        await discard(connection)
    found = _as_map(state)
    down = [flag for flag in found.get("flags", "").split(",") if flag in _DOWN]
    if down or not found.get("port", "").isdigit():
        return f"says that {service!r} is down ({', '.join(down) or 'without an address'})"
    return found["ip"], int(found["port"])


async def _send(connection: Any, *words: str) -> Any:
    await connection.send_command("SENTINEL", *words)
    return await connection.read_response()


def _as_map(flat: Any) -> dict[str, str]:
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in flat]
    return dict(zip(words[::2], words[1::2], strict=False))
