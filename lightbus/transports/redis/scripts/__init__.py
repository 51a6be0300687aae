"""The Lua scripts, one file each. Every one begins with a comment that says what it does atomically."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name that Redis gives it.

    Args:
        text: The Lua source.
        sha: Its SHA-1, by which Redis caches it.
    """

    text: str
    sha: str


def _load(name: str) -> Script:
    text = files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


TAKE = _load("take")
RELEASE = _load("release")
RECOVER = _load("recover")
LEAVE = _load("leave")
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
UNLIST = _load("unlist")
FOREIGN = _load("foreign")
OWN = _load("own")
TICK = _load("tick")
HOLD = _load("hold")
COUNT = _load("count")
FINISH = _load("finish")
FIRE = _load("fire")
MAKE = _load("make")
ADOPT = _load("adopt")
EXCUSE = _load("excuse")
