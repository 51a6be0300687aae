"""The users that ``lightbus acl`` writes for the manifests of docs/how-to/acl.md, on a server."""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path

import hiredis

from tests.guide.project import Project
from tests.support.servers import Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "acl.md"

_MANIFEST = re.compile(r"^```yaml\n# (\w+)\.yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

#: Those of the page, and the operator.
USERS = ("shop", "mailer", "web", "ops")
#: The same where Redis is a cluster.
ON_CLUSTER = tuple(f"cluster-{user}" for user in USERS)
#: How the page calls it.
ADDRESS = "redis:6379"
PASSWORD = "secret"


def manifests() -> dict[str, str]:
    """The manifests of the page, by the name of their service."""
    return {
        name: text.replace(f"${{file:secrets/{name}}}", PASSWORD)
        for name, text in _MANIFEST.findall(PAGE.read_text())
    }


def write(*arguments: str, address: str = f"redis://{ADDRESS}/0") -> str:
    """What the command prints for these manifests."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), None)
        for name, text in manifests().items():
            project.write(f"{name}.yaml", text.replace(f"redis://{ADDRESS}/0", address))
        project.write("password", PASSWORD)
        files = [f"{name}.yaml" for name in manifests()]
        done = project.run("acl", *files, "--operator", "ops", "--operator-password", "password", *arguments)
        project.close()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@cache
def _users(prefix: str, address: str) -> dict[str, list[str]]:
    lines = [line.split(" ", 2) for line in write(address=address).splitlines()]
    return {f"{prefix}{name}": parts(rules) for _, name, rules in lines}


def parts(rules: str) -> list[str]:
    """Rules one by one: a selector each, or a word outside one; without the password."""
    return [rule for rule in re.findall(r"\([^)]*\)|\S+", rules) if not rule.startswith("#")]


def rules_of(user: str) -> list[str]:
    """All rules of a user."""
    if user in ON_CLUSTER:
        return _users("cluster-", f"redis+cluster://{ADDRESS}")[user]
    return _users("", f"redis://{ADDRESS}/0")[user]


def without(all_rules: list[str], word: str, nth: int) -> list[str]:
    """Rules without one word, which may be within a selector."""
    changed = re.sub(rf"(?<![^\s(]){re.escape(word)}(?![^\s)])", "", all_rules[nth]).strip()
    is_nothing = not ("~" in changed and "+" in changed) if changed.startswith("(") else not changed
    return [*all_rules[:nth], *([] if is_nothing else [changed]), *all_rules[nth + 1 :]]


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

    def __init__(self, server: Server, user: str, password: str = PASSWORD) -> None:
        import socket

        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self._reader = hiredis.Reader()
        assert self.send("AUTH", user, password) in (b"OK", "OK")

    def send(self, *command: str | int | float) -> object:
        """Return the reply, which may be an error."""
        self._socket.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        return reply

    def close(self) -> None:
        self._socket.close()
