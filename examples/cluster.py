"""``make cluster``: a Redis Cluster of six nodes on this machine, and the shop hosted on it.

An order is placed every three seconds. A node that is killed is replaced, and started again as a replica.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
import threading
import time
from pathlib import Path

import lightbus
from lightbus.exceptions import LightbusException
from tests.support.cluster import RedisCluster
from tests.support.node import Node

from .services import SERVICES, SETTINGS, heed_signals, say, started

_ARTICLES = ("teapot", "cup", "tray", "cup")
#: Seconds between two orders, and between two looks at the nodes.
_PAUSE, _LOOK = 3.0, 0.2
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

    heed_signals()
    logging.basicConfig(format="customer | %(message)s")
    print("Starting six nodes and three services ...", flush=True)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        cluster = stack.enter_context(RedisCluster(aof=True))
        env = SETTINGS | {"LIGHTBUS__BUS__REDIS__URL": cluster.url}
        started(stack, SERVICES, env)
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
