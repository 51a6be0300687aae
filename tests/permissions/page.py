"""The rules that docs/how-to/acl.md shows, as users of a server."""

from __future__ import annotations

import re
from pathlib import Path

import hiredis

from tests.support.servers import Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "acl.md"

_BLOCK = re.compile(r"^```text acl\n# (.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

#: The parts of the page by the user that has them.
USERS = {
    "shop": (
        *("everybody", "hosts", "owns shop.orders", "replicas have events of shop.orders"),
        *("schedules of shop", "is seen and paused as shop"),
    ),
    "mailer": (
        *("everybody", "hosts", "listens to shop.orders as mailer-send"),
        "remembers events of shop.orders as mailer-send",
        "is seen and paused as mailer",
    ),
    "web": ("everybody", "calls shop.orders", "is seen as web"),
    "operator": ("everybody", "operator", "changes groups"),
}
#: The same where Redis is a cluster.
ON_CLUSTER = {
    "cluster-shop": (*USERS["shop"], "owns shop.orders on a cluster"),
    "cluster-web": (*USERS["web"], "calls shop.orders on a cluster"),
}
PASSWORD = "secret"


def rules() -> dict[str, list[str]]:
    """The rules of each part of the page, a selector each or a word outside one."""
    return {name: re.findall(r"\([^)]*\)|\S+", text) for name, text in _BLOCK.findall(PAGE.read_text())}


def rules_of(user: str) -> list[str]:
    """All rules of a user."""
    parts = rules()
    if user in USERS:
        return [rule for part in USERS[user] for rule in parts[part]]
    found = [rule for part in ON_CLUSTER[user] for rule in parts[part]]
    return [rule for rule in found if "~rpc_expiry_key:" not in rule]


def without(all_rules: list[str], word: str, nth: int) -> list[str]:
    """Rules without one word, which may be within a selector."""
    changed = re.sub(rf"(?<![^\s(]){re.escape(word)}(?![^\s)])", "", all_rules[nth]).strip()
    return [*all_rules[:nth], *([changed] if changed.strip("()") else []), *all_rules[nth + 1 :]]


def set_user(server: Server, user: str, given: list[str]) -> None:
    """Make a user with these rules; those who are connected have them at once."""
    command = ("ACL", "SETUSER", user, "reset", f">{PASSWORD}", *(" ".join(r.split()) for r in given))
    reply = server.execute(*command)
    assert reply in (b"OK", "OK"), reply


def url_of(server: Server, user: str) -> str:
    """Where that user connects."""
    return f"redis://{user}:{PASSWORD}@127.0.0.1:{server.port}/0"


def refused(server: Server) -> set[tuple[str, str]]:
    """What Redis has refused: the user, and the command or key."""
    found = set()
    for entry in server.execute("ACL", "LOG", "1000"):
        facts = dict(zip(entry[::2], entry[1::2], strict=True))
        found.add((facts[b"username"].decode(), facts[b"object"].decode()))
    return found


class As:
    """Sends commands as a user, over a connection of its own."""

    def __init__(self, server: Server, user: str) -> None:
        import socket

        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        self._reader = hiredis.Reader()
        assert self.send("AUTH", user, PASSWORD) in (b"OK", "OK")

    def send(self, *command: str | int | float) -> object:
        """Return the reply, which may be an error."""
        self._socket.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        return reply

    def close(self) -> None:
        self._socket.close()
