"""``make console``: the shop with customers, some of them in want of what there is not, and its console.

All of it is on one Redis of its own, and gone at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import secrets
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import lightbus
from lightbus.exceptions import LightbusException
from tests.support.servers import Server, free_port

from .services import SERVICES, SETTINGS, heed_signals, started

#: The port, unless somebody listens there.
_PORT = 8098
#: What is ordered; nobody has a saucer, and nobody knows what it costs.
_ARTICLES = ("teapot", "cup", "saucer", "cup", "tray", "cup")
#: Seconds between two orders.
_PAUSE = 1.0
#: Who may log in, with their role, and what that may do.
_PEOPLE = (
    ("ann", "ops", "may do everything"),
    ("bob", "dev", "may call procedures and fire events"),
    ("eve", "", "may only look"),
)
_WELCOME = """
The shop runs, and some of its customers order what there is not. Open

    http://127.0.0.1:{port}/

and log in with a token:

{people}

Or ask the bus in another terminal:

    export LIGHTBUS__BUS__REDIS__URL={url}
    {program} status --watch
    {program} dlq list
    {program} audit --follow

Ctrl-C ends it all, with all that is on the bus.
"""


@contextlib.contextmanager
def tokens() -> Iterator[tuple[Path, dict[str, str]]]:
    """Make a file of tokens for as long as it is needed; returns it, and each person's token."""
    by_name = {name: secrets.token_hex(12) for name, *_ in _PEOPLE}
    with tempfile.TemporaryDirectory(prefix="lightbus-console-") as folder:
        file = Path(folder) / "tokens"
        file.touch(mode=0o600)
        file.write_text("".join(f"{name} {by_name[name]} {role}\n" for name, role, _ in _PEOPLE))
        yield file, by_name


def port_for_console() -> int:
    """Return the port where the console usually is, or another one if that is taken."""
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", _PORT)):
        return _PORT
    return free_port()


def options_of(name: str, port: int, token_file: Path) -> list[str]:
    """Return the options of a service: the shop has the console beside it."""
    if name == "shop":
        web = ("--set", f"web.listen={port}", "--set", f"web.token_file={token_file}")
        return ["-c", "config", "-c", "examples/shop/console.yaml", *SERVICES[name][2:], "--web", *web]
    if name == "payments":
        return [*SERVICES[name], "--set", "listeners.charge.on_error=dead_letter"]
    return list(SERVICES[name])


def leave_a_group(server: Server) -> None:
    """Let a group be there that nobody reads any more, as one that a service has had before."""
    stream = "shop.orders.*:stream"
    server.execute("XGROUP", "CREATE", stream, "mail-welcome", "0", "MKSTREAM")


def trade(url: str, stopping: threading.Event) -> None:
    """Order something again and again, and ask for what there is not."""
    with lightbus.create(url, service_name="customer") as bus:
        for number, article in enumerate(itertools.cycle(_ARTICLES)):
            with contextlib.suppress(LightbusException):
                bus.shop.orders.place(customer="Ann", lines=[{"sku": article, "quantity": 1}])
                bus.shop.stock.available(sku=article)
            if number % 5 == 0:
                with contextlib.suppress(LightbusException):
                    bus.shop.orders.customer_of(order_id=-number)
            if stopping.wait(_PAUSE):
                return


def main() -> None:
    """Start it all, and keep it going until Ctrl-C."""
    heed_signals()
    # The customers are told of what they can't have; that is no news here.
    logging.getLogger("lightbus").setLevel(logging.ERROR)
    print("Starting a Redis and three services ...", flush=True)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        server = Server()
        stack.callback(server.close)
        leave_a_group(server)
        file, by_name = stack.enter_context(tokens())
        port, env = port_for_console(), SETTINGS | {"LIGHTBUS__BUS__REDIS__URL": server.url}
        started(stack, {name: options_of(name, port, file) for name in SERVICES}, env, shows=False)
        people = "\n".join(f"    {by_name[name]}  {name}, who {what}" for name, _, what in _PEOPLE)
        program = os.path.relpath(Path(sys.executable).with_name("lightbus"))
        print(_WELCOME.format(port=port, people=people, url=server.url, program=program), flush=True)
        stopping = threading.Event()
        trading = threading.Thread(target=trade, args=(server.url, stopping), name="trade")
        stack.callback(trading.join)
        stack.callback(stopping.set)
        trading.start()
        trading.join()


if __name__ == "__main__":
    main()
