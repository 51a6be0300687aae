"""A user of Redis for each process of a campaign, with the rules that ``lightbus acl`` writes for it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import hiredis

from tests.support.processes import clean_environment
from tests.support.servers import Server

from .settings import ATTEMPTS, LISTENERS

#: The processes of a campaign that have a manifest of their own, and somebody who looks after the bus.
Role = Literal["host", "publisher", "caller", "operator"]
_ROLES: tuple[Role, ...] = ("host", "publisher", "caller")
_OPERATOR: Role = "operator"
_PASSWORD = "secret"
_POLICY = {"attempts": ATTEMPTS, "backoff": {"initial": "100ms", "factor": 2, "max": "2s"}}
#: Watchers, and the nodes among themselves.
_ADMINISTRATOR = "user default on nopass ~* &* +@all"
#: The planted bugs that are rules which hosts lack, by their names.
LACKING = {"missing_rule": "+zrem"}
#: By which a process only learns something, or without which an event may be stored twice.
_KNOWN = frozenset(("config|get", "client|setinfo", "client|kill"))


class Users:
    """The users of a campaign, in a file that each server reads when it starts.

    Args:
        configured: Makes the manifest of a process of its options of Redis.
        redis: The options of Redis, as far as they decide about the rules: whether it is a cluster.
        lacking: A rule that hosts do not get; empty for none.
    """

    def __init__(
        self,
        configured: Callable[[Mapping[str, Any]], dict[str, Any]],
        redis: Mapping[str, Any],
        lacking: str = "",
    ) -> None:
        self._lacking = lacking
        self._folder = tempfile.TemporaryDirectory(prefix="campaign-users-")
        folder = Path(self._folder.name)
        path = folder / "users.acl"
        path.write_text("\n".join([_ADMINISTRATOR, *self._write(folder, configured(redis)), ""]))
        #: The options of a server's command line.
        self.args = ("--aclfile", str(path))
        #: What servers have refused to these users, but for what is known.
        self.refused: set[str] = set()

    def manifest(self, role: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Return the manifest of a role: it names its user, and declares what it does and no more."""
        bus = manifest["bus"]
        bus = {**bus, "redis": {**bus["redis"], "username": role, "password": _PASSWORD}}
        own = {**manifest, "bus": bus}
        if role == "host":
            events = [f"{api}.happened" for api in manifest["apis"]]
            own["policies"] = {"campaign": _POLICY}
            own["listeners"] = {
                name: {
                    "events": events,
                    "handler": f"tests.faults.bus:{name}",
                    "concurrency": concurrency,
                    "since": "earliest",
                    "on_error": "campaign",
                }
                for name, concurrency in LISTENERS.items()
            }
        elif role != "publisher":
            own |= {"service_name": role, "modules": []}
        return own

    def look(self, servers: Iterable[Server]) -> None:
        """Note what servers have refused since they were started; one that is killed forgets it."""
        for server in servers:
            with contextlib.suppress(OSError, hiredis.ReplyError):  # It may be about to start.
                entries = server.execute("ACL", "LOG", "1000")
                self.refused.update(filter(None, map(_refusal, entries)))

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()

    def _write(self, folder: Path, manifest: Mapping[str, Any]) -> list[str]:
        """Return the users that the command writes, one a line."""
        for role in _ROLES:
            (folder / f"{role}.yaml").write_text(json.dumps(self.manifest(role, manifest)))
        (folder / _OPERATOR).write_text(_PASSWORD)
        command = [
            *(sys.executable, "-m", "lightbus", "acl", *(f"{role}.yaml" for role in _ROLES)),
            *("--operator", _OPERATOR, "--operator-password", _OPERATOR),
        ]
        done = subprocess.run(
            command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        lines = [line for line in done.stdout.splitlines() if line != "user default off"]
        assert len(lines) == len(_ROLES) + 1, done.stdout
        return [self._without_rule(line) for line in lines]

    def _without_rule(self, line: str) -> str:
        """Take the rule out that hosts lack."""
        if not self._lacking or not line.startswith("user host "):
            return line
        lacks = re.sub(rf" {re.escape(self._lacking)}(?=[ )]|$)", "", line)
        assert lacks != line, f"hosts have no rule {self._lacking}"
        return lacks


def _refusal(entry: list[Any]) -> str:
    """Say what was refused to whom; nothing for what is known, or was refused to somebody else."""
    facts = dict(zip(entry[::2], entry[1::2], strict=True))
    user, what = facts[b"username"].decode(), facts[b"object"].decode()
    if what in _KNOWN or user not in (*_ROLES, _OPERATOR):
        return ""
    command = facts[b"client-info"].decode().partition("cmd=")[2].partition(" ")[0]
    return f"{user}: {command} on {what}" if command != what else f"{user}: {command}"
