"""The Lua scripts, one file each. Every one begins with a comment that says what it does atomically.

Redis undoes nothing of a script that fails half-way, and any of its commands may be refused: to a user who
lacks it, or for want of memory. So a script's first write in earnest is the last that may still be refused.
Those that follow it are *rehearsed* before: made in a form that changes nothing, such as ``XACK`` of the id
``0-0``, which no entry has, or ``LPOP`` of 0 elements. What Redis lets a user do then, it lets him do a
moment later, since nothing comes between the commands of a script. (The keys are checked before a script
begins, since all of them are in ``KEYS``.) Taking back what was done would need more permissions still, and
change delivery counts and leases.

Redis refuses a script memory only until it has called a write that needs none. A rehearsal is such a write:
what takes messages out of Redis, or shows that a process lives, is done even where it is full. What adds to
Redis begins with a write that is refused then.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

_LINE = re.compile(r"@user_script: ?(\d+)")
_CALLED = re.compile(r"redis\.p?call\('(\w+)'(?:, '(CREATE|DELCONSUMER|CONSUMERS|GROUPS)')?")


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name that Redis gives it.

    Args:
        name: The name of its file.
        text: The Lua source.
        sha: Its SHA-1, by which Redis caches it.
    """

    name: str
    text: str
    sha: str

    def command_at(self, said: str) -> str:
        """Return the command in the line that an error of Redis names; empty where it names none."""
        found = _LINE.search(said)
        lines = self.text.splitlines()
        number = int(found[1]) if found else 0
        called = _CALLED.search(lines[number - 1]) if 0 < number <= len(lines) else None
        return " ".join(filter(None, called.groups())) if called else ""


def _load(name: str) -> Script:
    text = files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


TAKE = _load("take")
RELEASE = _load("release")
RECOVER = _load("recover")
PRESENT = _load("present")
LEAVE = _load("leave")
ANSWER = _load("answer")
RETRY = _load("retry")
MOVE = _load("move")
PROMOTE = _load("promote")
RENEW = _load("renew")
CLAIM = _load("claim")
TRIM = _load("trim")
FORGET = _load("forget")
REPLAY = _load("replay")
PUBLISH = _load("publish")
WITHDRAW = _load("withdraw")
ENLIST = _load("enlist")
UNLIST = _load("unlist")
OWN = _load("own")
TICK = _load("tick")
HOLD = _load("hold")
COUNT = _load("count")
FINISH = _load("finish")
FIRE = _load("fire")
FIND = _load("find")
MAKE = _load("make")
ADOPT = _load("adopt")
EXCUSE = _load("excuse")
REREAD = _load("reread")
RESTAMP = _load("restamp")
