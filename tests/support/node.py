"""One node of a Redis Cluster for tests, and what it sees of the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from redis.crc import key_slot

from .servers import Kind, Server, free_port


def slot_of(key: str) -> int:
    """The slot of a key."""
    return int(key_slot(key.encode()))


@dataclass(frozen=True)
class Seen:
    """One node, as another one sees it."""

    id: str
    port: int
    flags: frozenset[str]
    #: The id of its primary; empty for a primary.
    primary: str
    slots: tuple[range, ...]

    @classmethod
    def of(cls, line: str) -> Seen:
        """Read a line of ``CLUSTER NODES``."""
        own, address, flags, primary, *_, _state = line.split(" ")[:8]
        port = int(address.partition("@")[0].rpartition(":")[2])
        # Those in brackets are on their way.
        slots = [text.partition("-") for text in line.split(" ")[8:] if not text.startswith("[")]
        ranges = tuple(range(int(first), int(last or first) + 1) for first, _, last in slots)
        return cls(own, port, frozenset(flags.split(",")), primary.strip("-"), ranges)


class Node(Server):
    """One node: a server with a second port, by which the nodes talk to each other.

    Args:
        kind: Which server.
        aof: Whether it writes everything to disk.
        password: Of its users, and of the replicas among themselves.
        args: Further options for its command line.
        tls: A folder with its certificate, ``server.pem`` and ``server.key``; it has a third port then.
    """

    def __init__(
        self, kind: Kind, *, aof: bool, password: str | None, args: tuple[str, ...], tls: Path | None = None
    ) -> None:
        self._given = (*args, "--masterauth", password) if password else args
        self._bus_port = 0
        #: Its port for TLS, where it has a certificate.
        self.tls_port = 0
        if tls is not None:
            self.tls_port = free_port()
            files = {"cert": "server.pem", "key": "server.key", "ca-cert": "server.pem"}
            named = [word for what, name in files.items() for word in (f"--tls-{what}-file", f"{tls}/{name}")]
            # Nodes tell clients of these ports only where they use TLS among themselves.
            secure = ("--tls-port", str(self.tls_port), "--tls-auth-clients", "no", "--tls-cluster", "yes")
            self._given = (*self._given, *secure, *named)
        super().__init__(kind, aof=aof, password=password)
        #: Its name in the cluster.
        self.id = self.ask("CLUSTER", "MYID")

    def _try_start(self, port: int) -> bool:
        # By default it is 10,000 above the other one, where outgoing connections have theirs.
        chosen = self._bus_port or free_port()
        self.args = ("--cluster-enabled", "yes", "--cluster-port", str(chosen), *self._given)
        if not super()._try_start(port):
            return False
        self._bus_port = chosen
        return True

    @property
    def address(self) -> str:
        """Its host and port, as a manifest names it."""
        return f"127.0.0.1:{self.port}"

    @property
    def bus_port(self) -> int:
        """The port of the other nodes."""
        return self._bus_port

    @property
    def is_alive(self) -> bool:
        """Whether it runs; a frozen one does, too."""
        return self.process is not None and self.process.poll() is None

    def ask(self, *command: str | int) -> str:
        """Send a command that answers with text."""
        answer: bytes = self.execute(*command)
        return answer.decode()

    def told(self, section: str) -> dict[str, str]:
        """What it says of itself: a section of INFO."""
        lines = self.ask("INFO", section).splitlines()
        return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}

    def sees(self) -> list[Seen]:
        """All nodes that it knows, with itself."""
        return [Seen.of(line) for line in self.ask("CLUSTER", "NODES").splitlines()]

    def __repr__(self) -> str:
        return f"<Node {self.kind} on port {self.port}>"
