"""The look-up of a host by its name, before a connection to it is begun."""

from __future__ import annotations

import asyncio
import ipaddress
import socket


async def look_up(host: str, port: int) -> None:
    """Find a host by its name.

    uvloop looks a name up within the making of a connection, too. Where that is cancelled meanwhile, nobody
    takes the error of the look-up, and asyncio writes it into the log. So a name that is unknown must not get
    that far.

    Raises:
        socket.gaierror: There is no such host.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
