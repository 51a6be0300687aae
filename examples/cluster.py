"""``make cluster``: a Redis Cluster of six nodes on this machine, and the shop hosted on it.

An order is placed every three seconds. A node that is killed is replaced, and started again as a replica.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightbus
from lightbus.exceptions import LightbusException
from tests.support.cluster import RedisCluster
from tests.support.node import Node

_ROOT = Path(__file__).parents[1]
# The shop fills its shelves each minute: orders go on for as long as you like.
_REFILL = ("--set", "schedules.refill_shelves.cron=* * * * *")
#: The options of each service.
_SERVICES = {
    "shop": ("-c", "config", *_REFILL),
    "payments": ("-c", "examples/shop/payments.yaml"),
    "mail": ("-c", "examples/shop/mail.yaml"),
}
_ARTICLES = ("teapot", "cup", "tray", "cup")
_SETTINGS = {"LIGHTBUS__BUS__REDIS__EMBEDDED": "false", "LIGHTBUS__BUS__LOG_FORMAT": "json"}
#: Seconds between two orders, between two looks at the nodes, and for the end of a service.
_PAUSE, _LOOK, _END = 3.0, 0.2, 40.0
_WELCOME = """
The shop runs on a cluster of six nodes:

    {primaries}

Kill one in another terminal, and see the orders go on:

    kill -9 {pid}

Or ask the bus there:

    export LIGHTBUS__BUS__REDIS__URL={url}
    {program} call shop.orders.by_customer customer=Ann
    {program} status --watch
    {program} doctor

Ctrl-C ends it all, the nodes and what they hold included.
"""


def say(who: str, what: str) -> None:
    """Print a line, with its origin before it, broken between words."""
    width = shutil.get_terminal_size().columns
    rest = " " * 9 + "| "
    for line in textwrap.wrap(what, width, initial_indent=f"{who:8} | ", subsequent_indent=rest) or [""]:
        print(line, flush=True)


class Service:
    """One service of the shop, whose lines are shown once it is ready.

    Args:
        name: Its name.
        options: Its options for ``lightbus run``.
        env: Further variables of its environment.
    """

    def __init__(self, name: str, options: Sequence[str], env: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "lightbus", "run", *options, "-p", name]
        self.name = name
        self.process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for this program, which ends it in good order.
        )
        self._is_ready = threading.Event()
        self._reader = threading.Thread(target=self._show, name=name)
        self._reader.start()

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            SystemExit: It ended before that.
        """
        self._is_ready.wait()
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} did not start; its lines above say why")

    def stop(self) -> None:
        """Let it finish what runs."""
        self.process.terminate()

    def close(self) -> None:
        """Wait for its end, and be done with it."""
        try:
            self.process.wait(_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reader.join()

    def _show(self) -> None:
        before = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = _told(line)
            if self._is_ready.is_set():
                say(self.name, told)
            elif "ready" in told:
                self._is_ready.set()
            else:
                before.append(told)
        if not self._is_ready.is_set():
            for told in before:
                say(self.name, told)
            self.process.wait()
            self._is_ready.set()


def _told(line: str) -> str:
    """Return the message of a line of a log."""
    try:
        entry = json.loads(line)
        return entry["message"] if entry["level"] == "info" else f"{entry['level']}: {entry['message']}"
    except ValueError:  # It was printed.
        return line.rstrip()


def place_orders(url: str, stopping: threading.Event) -> None:
    """Order something again and again, and tell what takes long or fails."""
    with lightbus.create(url) as bus:
        for article in itertools.cycle(_ARTICLES):
            began = time.monotonic()
            try:
                order = bus.shop.orders.place(customer="Ann", lines=[{"sku": article, "quantity": 1}])
                took = time.monotonic() - began
                if took > 1:
                    say("customer", f"order {order} took {took:.1f} s")
            except LightbusException as e:
                say("customer", f"a {article} could not be ordered: {e}")
            if stopping.wait(_PAUSE):
                return


def replace_the_dead(cluster: RedisCluster) -> None:
    """Start nodes again that were killed, for ever."""
    while True:
        for node in cluster.nodes:
            if not node.is_alive:
                revive(cluster, node)
        time.sleep(_LOOK)


def revive(cluster: RedisCluster, node: Node) -> None:
    """Wait until another one has the slots of a dead node, and start it again."""
    say("cluster", f"{node.address} is dead")
    began = time.monotonic()
    try:
        cluster.wait_for_promotion(node)
    except AssertionError:
        say("cluster", "too few primaries are left to elect another one; all dead nodes start again")
        for each in cluster.nodes:
            if not each.is_alive:
                each.restart()
        cluster.wait_until_whole()
        return
    say("cluster", f"the others have its slots after {time.monotonic() - began:.1f} s")
    node.kill()  # It has ended; this takes note of it.
    cluster.revive(node)
    say("cluster", f"{node.address} is back as a replica")
    say("cluster", listed(cluster))


def listed(cluster: RedisCluster) -> str:
    """Name the primaries, with the process of each."""
    return "primaries " + ", ".join(f"{node.port} (pid {node.pid})" for node in cluster.primaries())


def main() -> None:
    """Start it all, and keep it going until Ctrl-C."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    logging.basicConfig(format="customer | %(message)s")
    print("Starting six nodes and three services ...", flush=True)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        cluster = stack.enter_context(RedisCluster(aof=True))
        env = _SETTINGS | {"LIGHTBUS__BUS__REDIS__URL": cluster.url}
        services = []
        for name, options in _SERVICES.items():
            services.append(Service(name, options, env))
            stack.callback(services[-1].close)
        for service in services:
            stack.callback(service.stop)
        stack.callback(print, "\nEnding the services ...", flush=True)
        for service in services:
            service.wait()
        first = cluster.primaries()[0]
        # Two are enough to find the others.
        url = f"redis+cluster://{','.join(cluster.addresses[:2])}"
        program = os.path.relpath(Path(sys.executable).with_name("lightbus"))
        print(
            _WELCOME.format(primaries=listed(cluster), pid=first.pid, url=url, program=program),
            flush=True,
        )
        stopping = threading.Event()
        orders = threading.Thread(target=place_orders, args=(cluster.url, stopping), name="orders")
        stack.callback(orders.join)
        stack.callback(stopping.set)
        orders.start()
        replace_the_dead(cluster)


if __name__ == "__main__":
    main()
