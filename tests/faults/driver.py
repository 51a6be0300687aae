"""What goes wrong in a campaign, chosen by a seed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.eventually import eventually
from tests.proxy import Mode

from .cluster import Cluster, Host, pause
from .settings import FIRING, LEASE
from .watcher import Watcher

_LINKS: tuple[Mode, ...] = ("blackhole", "reset", "refuse", "delay", "drop_replies")


@dataclass
class Driver:
    """Does one fault after another.

    Args:
        cluster: What suffers.
        watcher: What knows who holds what.
        chance: Where chance comes from.
    """

    cluster: Cluster
    watcher: Watcher
    chance: random.Random
    #: How many events may have run twice, for all that was done.
    bound: int = 0
    done: dict[str, int] = field(default_factory=dict)

    def run(self, seconds: float, names: tuple[str, ...] = ()) -> None:
        """Do faults until the time is up, those named or any."""
        until = time.monotonic() + seconds
        left: list[str] = []
        while time.monotonic() < until:
            left = left or self.chance.sample(names or tuple(FAULTS), len(names or FAULTS))
            self.do(left.pop())
            pause(self.chance.uniform(0.2, 1.0))

    def do(self, name: str) -> None:
        """Do one fault and write it down."""
        host = self.chance.choice(self.cluster.hosts)
        whose = {"all": self.cluster.hosts, "one": [host], "none": []}[TOUCHED.get(name, "one")]
        started = time.monotonic()
        self._expect(whose)
        FAULTS[name](self, host)
        self._expect(whose)
        for each in whose:
            self.cluster.ledger.write("fault", each.name, f"{started:.6f}", f"{time.monotonic():.6f}", name)
        self.done[name] = self.done.get(name, 0) + 1

    def _expect(self, hosts: list[Host]) -> None:
        """What these hosts hold now may run twice."""
        self.bound += sum(len(self.watcher.held.get(host.name, ())) for host in hosts)

    def kill(self, host: Host) -> None:
        """Stopped first, so that what it holds is known exactly."""
        os.kill(host.process.pid, signal.SIGSTOP)
        pause(0.15)
        self._expect([host])
        host.process.kill()

    def kill_all(self, _: Host) -> None:
        """No host for a while; what is fired waits."""
        for host in self.cluster.hosts:
            host.ended.acquire()
        try:
            for host in self.cluster.hosts:
                self.kill(host)
            pause(0.5)
        finally:
            for host in self.cluster.hosts:
                host.ended.release()

    def freeze(self, host: Host) -> None:
        """Stopped for longer than the lease: others take over what it holds."""
        with host.ended:
            host.process.pause()
            try:
                pause(LEASE * self.chance.uniform(1.3, 1.8))
                self._expect([host])
            finally:
                host.process.resume()

    def link(self, host: Host) -> None:
        """A host's link misbehaves."""
        host.proxy.set(self.chance.choice(_LINKS), delay=self.chance.uniform(0.02, 0.15))
        pause(self.chance.choice([0.3, 1.0, LEASE * 1.5]))
        host.proxy.set("pass")

    def client_link(self, _: Host) -> None:
        """The link of the publisher and the caller misbehaves."""
        self.bound += 2 * FIRING
        proxy = self.cluster.client_proxy
        proxy.set(self.chance.choice(_LINKS), delay=self.chance.uniform(0.02, 0.15))
        pause(self.chance.choice([0.3, 1.0, 2.5]))
        proxy.set("pass")

    def restart_redis(self, _: Host) -> None:
        """The server is killed and started again; it has written everything down."""
        self.bound += FIRING
        self.cluster.server.kill()
        pause(self.chance.choice([0, 0.3, 1.5]))
        self.cluster.server.start()

    def destroy_groups(self, _: Host) -> None:
        """The groups go while no host is there and nothing is held; events come in meanwhile."""
        hosts = self.cluster.hosts
        for host in hosts:
            host.ended.acquire()
        try:
            for host in hosts:
                if host.process.status is None:
                    host.process.terminate()
            pause(0.5)
            self.watcher.look()
            if not any(self.watcher.held.values()):
                self.watcher.destroy_groups()
                self.done["groups gone"] = self.done.get("groups gone", 0) + 1
        finally:
            for host in hosts:
                host.ended.release()
        eventually(lambda: "ready" in hosts[0].process.output(), 30)

    def roll(self, host: Host) -> None:
        """A host ends as it does in a rolling restart; the next may go when it is back."""
        with host.ended:
            if host.process.status is None:
                host.process.terminate()
        eventually(lambda: host.process.status is None and "ready" in host.process.output(), 30)

    def quiet(self, _: Host) -> None:
        """Nothing goes wrong for a while."""
        pause(LEASE * 1.5)


Fault = Callable[[Driver, Host], None]
FAULTS: dict[str, Fault] = {
    "kill": Driver.kill,
    "kill_all": Driver.kill_all,
    "freeze": Driver.freeze,
    "link": Driver.link,
    "client_link": Driver.client_link,
    "restart_redis": Driver.restart_redis,
    "destroy_groups": Driver.destroy_groups,
    "roll": Driver.roll,
    "quiet": Driver.quiet,
}
#: Which hosts each touches, where that is not one.
TOUCHED = {
    "kill_all": "all",
    "restart_redis": "all",
    "destroy_groups": "all",
    "client_link": "none",
    "roll": "none",
    "quiet": "none",
}
