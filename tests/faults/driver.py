"""What goes wrong in a campaign, chosen by a seed."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.eventually import eventually
from tests.support.proxy import Mode, Proxy

from .backing import Alone, Replicated
from .cluster import Cluster, Host, pause
from .settings import LEASE, STREAM_LENGTH
from .watcher import Watcher

Held = tuple[str, str, str, str]
Fault = Callable[["Driver", Host], None]

_LINKS: tuple[Mode, ...] = ("blackhole", "reset", "refuse", "delay", "drop_replies")


@dataclass
class Driver:
    """Does one fault after another.

    Args:
        cluster: What suffers.
        watcher: What knows who holds what.
        chance: Where chance comes from.
        more: Faults that only this campaign has.
    """

    cluster: Cluster
    watcher: Watcher
    chance: random.Random
    more: Mapping[str, Fault] = field(default_factory=dict)
    #: For each fault, what those held to whom it happened: host, listener, stream and id.
    struck: list[set[Held]] = field(default_factory=list)
    #: How many events a promoted replica did not know to be settled.
    unsettled: int = 0
    done: dict[str, int] = field(default_factory=dict)

    def run(self, seconds: float, names: tuple[str, ...]) -> None:
        """Do these faults, in any order, until the time is up."""
        until = time.monotonic() + seconds
        left: list[str] = []
        while time.monotonic() < until:
            left = left or self.chance.sample(names, len(names))
            self.do(left.pop())
            pause(self.chance.uniform(0.2, 1.0))

    def do(self, name: str) -> None:
        """Do one fault and write it down."""
        self.cluster.note_refused()
        host = self.chance.choice(self.cluster.hosts)
        whose = {"all": self.cluster.hosts, "one": [host], "none": []}[TOUCHED.get(name, "one")]
        started = time.monotonic()
        self.struck.append(set())
        (self.more.get(name) or FAULTS[name])(self, host)
        for each in whose:
            self.cluster.ledger.write("fault", each.name, f"{started:.6f}", f"{time.monotonic():.6f}", name)
        self.done[name] = self.done.get(name, 0) + 1

    def expect(self, hosts: list[Host]) -> None:
        """What these hosts hold now may run twice, if they have begun with it."""
        self.watcher.look_again()
        for host in hosts:
            self.struck[-1] |= {(host.name, *key) for key in self.watcher.held.get(host.name, ())}

    def kill(self, host: Host) -> None:
        """Stopped first, so that what it holds is known exactly."""
        host.process.pause()
        pause(0.1)
        self.expect([host])
        host.process.kill()

    def kill_all(self, _: Host) -> None:
        """No host for a while; what is fired waits."""
        with self.cluster.without_hosts(self.kill):
            pause(0.5)

    def freeze(self, host: Host) -> None:
        """Stopped for longer than the lease: others take over what it holds."""
        with host.ended:
            host.process.pause()
            try:
                pause(0.1)
                self.expect([host])
                pause(LEASE * self.chance.uniform(1.3, 1.8))
            finally:
                host.process.resume()

    def link(self, host: Host) -> None:
        """A host's link misbehaves."""
        proxy = _present(host.proxy)
        proxy.set(self.chance.choice(_LINKS), delay=self.chance.uniform(0.02, 0.15))
        self.expect([host])
        pause(self.chance.choice([0.3, 1.0, LEASE * 1.5]))
        self.expect([host])
        proxy.set("pass")

    def client_link(self, _: Host) -> None:
        """The link of the publisher and the caller misbehaves."""
        proxy = _present(self.cluster.client_proxy)
        proxy.set(self.chance.choice(_LINKS), delay=self.chance.uniform(0.02, 0.15))
        pause(self.chance.choice([0.3, 1.0, 2.5]))
        proxy.set("pass")

    def restart_redis(self, _: Host) -> None:
        """The server is killed and started again; it has written everything down."""
        assert isinstance(self.cluster.backing, Alone)
        self.expect(self.cluster.hosts)
        self.cluster.backing.server.kill()
        pause(self.chance.choice([0, 0.3, 1.5]))
        self.cluster.backing.server.start()
        self.expect(self.cluster.hosts)

    def destroy_groups(self, _: Host) -> None:
        """The groups go while no host is there and nothing is held; events come in meanwhile.

        Where no group is there, the stream is cut to its length: what does not fit is lost, and told. So the
        groups stay where much waits already, as on a machine that has no time for the hosts.
        """
        with self.cluster.without_hosts(Host.stop):
            pause(0.5)
            self.watcher.look_again()
            is_little = self.watcher.left().unread <= STREAM_LENGTH // 2
            if is_little and not any(self.watcher.held.values()):
                self.watcher.destroy_groups()
                self.done["groups gone"] = self.done.get("groups gone", 0) + 1
        eventually(self.cluster.hosts[0].is_ready)

    def roll(self, host: Host) -> None:
        """A host ends as it does in a rolling restart; the next may go when it is back."""
        with host.ended:
            host.stop()
        eventually(host.is_ready)

    def quiet(self, _: Host) -> None:
        """Nothing goes wrong for a while."""
        pause(LEASE * 1.5)

    def fail_over(self, _: Host) -> None:
        """Sentinel is told to make the replica the primary; both take writes for a while."""
        self._promote(kill=False)

    def kill_primary(self, _: Host) -> None:
        """The primary is killed, and comes back as the replica of what was its own."""
        self._promote(kill=True)

    def kill_lagging(self, _: Host) -> None:
        """The primary is killed while its replica is behind, and before a host has read what that lacks."""
        with contextlib.ExitStack() as frozen:
            for host in self.cluster.hosts:
                frozen.enter_context(host.ended)
                host.process.pause()
                frozen.callback(host.process.resume)
            self._promote(kill=True, lag=self.chance.uniform(0.3, 0.9), killed=frozen.close)

    def _promote(self, *, kill: bool, lag: float = 0.0, killed: Callable[[], None] = lambda: None) -> None:
        def promoted() -> None:
            # What the replica had not heard to be acknowledged may run again.
            self.unsettled += self.watcher.left().total

        assert isinstance(self.cluster.backing, Replicated)
        began = time.monotonic()
        self.cluster.backing.fail_over(kill=kill, promoted=promoted, lag=lag, killed=killed)
        self.cluster.ledger.write("promotion", f"{began:.6f}", f"{time.monotonic():.6f}")


def _present(proxy: Proxy | None) -> Proxy:
    assert proxy is not None, "there is no proxy where Sentinel says where to connect"
    return proxy


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
    "fail_over": Driver.fail_over,
    "kill_primary": Driver.kill_primary,
    "kill_lagging": Driver.kill_lagging,
}
#: What a server and its replica can have.
REPLICATED = ("kill", "freeze", "roll", "fail_over", "kill_primary", "kill_lagging")
#: What a server alone can have.
ALONE = tuple(name for name in FAULTS if name not in ("fail_over", "kill_primary", "kill_lagging"))
#: Which hosts each touches, where that is not one.
TOUCHED = {
    "kill_all": "all",
    "restart_redis": "all",
    "destroy_groups": "all",
    "fail_over": "all",
    "kill_primary": "all",
    "kill_lagging": "all",
    "kill_unread": "all",
    "client_link": "none",
    "roll": "none",
    "quiet": "none",
}
