"""The Lua scripts, one file each: it says what the script does atomically, and names its keys and arguments.

Here stand the same names in the same order, with their types. Callers give each value by its name, so that
the order on the wire is written down only here and in the script.

Redis undoes nothing of a script that fails half-way. It may refuse any command of a script, since the user
lacks a permission or Redis lacks memory. So a script's first write in earnest is the last that may still be
refused. All later writes are *rehearsed* before it: made in a form that changes nothing, such as ``XACK``
of the id ``0-0``, which no entry has, or ``LPOP`` of 0 elements. Redis allows a moment later what it allows
in the rehearsal, since nothing comes between the commands of a script. (The keys are checked before a
script begins, since all of them are in ``KEYS``.) To undo writes would need more permissions still, and
change delivery counts and leases.

Redis refuses a script memory only until it has called a write that needs none. A rehearsal is such a write.
So scripts that take messages out of Redis, or show that a process lives, work even if it is full. Scripts
that add to Redis begin with a write that is refused then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Generic, NamedTuple, ParamSpec

P = ParamSpec("P")

#: A key, and any number of keys: Redis is told of these apart from the arguments.
Key = str
Keys = Iterable[str]
#: Any number of arguments, which come last.
Many = Iterable[Any]

#: The first line of a script that calls functions of other files, which come before it.
_SHARED = re.compile(r"-- begins with (.+)\.lua\n")
_LINE = re.compile(r"@user_script: ?(\d+)")
_CALLED = re.compile(r"redis\.p?call\('(\w+)'(?:, '(CREATE|DELCONSUMER|CONSUMERS|GROUPS|SETID|DESTROY)')?")


class Run(NamedTuple):
    """A script with all that it is given.

    Args:
        script: The script.
        keys: Its keys, in their order.
        arguments: Its arguments, in theirs.
    """

    script: Script[...]
    keys: list[str]
    arguments: list[Any]

    def by_name(self) -> tuple[Any, ...]:
        """Return the command that runs it where Redis knows it."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    def by_text(self) -> tuple[Any, ...]:
        """Return the command that runs it in any case."""
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


@dataclass(frozen=True, slots=True, eq=False)
class Script(Generic[P]):
    """A script, which is called with each value by its name.

    Args:
        name: The name of its file.
        text: The Lua source.
        sha: Its SHA-1, by which Redis caches it.
        in_order: Returns its keys and its arguments, each in the order that it wants.
    """

    name: str
    text: str
    sha: str
    in_order: Callable[..., tuple[list[str], list[Any]]]

    def __call__(self, *_: P.args, **given: P.kwargs) -> Run:
        """Return the script with what it is given."""
        return Run(self, *self.in_order(**given))

    def command_at(self, said: str) -> str:
        """Return the command in the line that an error of Redis names; empty if it names none."""
        found = _LINE.search(said)
        lines = self.text.splitlines()
        number = int(found[1]) if found else 0
        called = _CALLED.search(lines[number - 1]) if 0 < number <= len(lines) else None
        return " ".join(filter(None, called.groups())) if called else ""


def _text(name: str) -> str:
    return files(__name__).joinpath(f"{name}.lua").read_text("utf-8")


def _script(declared: Callable[P, None]) -> Script[P]:
    """Load the script whose keys and arguments a function declares, each by its name and its type."""
    name = declared.__name__.lower()
    text = _text(name)
    shared = _SHARED.match(text)
    text = "".join(map(_text, shared[1].split(".lua, ") if shared else ())) + text
    kinds = {each: kind for each, kind in declared.__annotations__.items() if each != "return"}
    values = {each: f"*{each}" if kind in ("Keys", "Many") else each for each, kind in kinds.items()}
    keys = ", ".join(values[each] for each, kind in kinds.items() if kind in ("Key", "Keys"))
    arguments = ", ".join(values[each] for each, kind in kinds.items() if kind not in ("Key", "Keys"))
    # A function of its own for each, as one written by hand: some scripts are run for every message.
    in_order = eval(f"lambda *, {', '.join(kinds)}: ([{keys}], [{arguments}])")  # noqa: S307 - names of ours
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), in_order)


# Of calls, of events fired and read, of contracts, owners and schedules.
@_script
def CALL(*, queue: Key, expiry: Key, margin: float, seconds: int, call: bytes) -> None: ...
@_script
def TAKE(*, queue: Key, mine: Key, register: Key, most: int) -> None: ...
@_script
def BEGIN(*, expiries: Keys) -> None: ...
@_script
def RELEASE(*, queue: Key, mine: Key, call: bytes) -> None: ...
@_script
def RECOVER(*, theirs: Key, mine: Key, presence: Key, register: Key, member: str) -> None: ...
@_script
def PRESENT(
    *, presence: Key, register: Key, served: Key, member: str, milliseconds: int, now: int, pause: int
) -> None: ...
@_script
def LEAVE(*, presence: Key, register: Key, served: Key, member: str) -> None: ...
@_script
def ANSWER(*, replies: Key, answer: bytes, seconds: int) -> None: ...
@_script
def FIRE(*, stream: Key, fired: Key, before: Keys, milliseconds: int, waits: int, fields: Many) -> None: ...
@_script
def FIND(*, stream: Key, newest: str, oldest: str, most: int, age: int, ids: Many) -> None: ...
@_script
def TRIM(*, stream: Key, trimming: Key, most: int, lease: int, drops: int) -> None: ...
@_script
def COUNT(*, stream: Key, after: bytes, most: int) -> None: ...
@_script
def REPLAY(*, dead: Key, retry: Key, letter: str, fields: Many) -> None: ...
@_script
def MAKE(*, stream: Key, retry: Key, notes: Key, groups: Key, group: str, start: str) -> None: ...
@_script
def REMOVE(
    *, stream: Key, retry: Key, delayed: Key, bodies: Key, dead: Key, notes: Key, groups: Key,
    group: str, nobody: str, silent: int, silent_1x: int,
) -> None: ...  # fmt: skip
@_script
def SUCCEED(
    *, stream: Key, retry: Key, heirs_retry: Key, notes: Key, heirs_notes: Key, groups: Key,
    group: str, heir: str, last: str, nobody: str, silent: int, silent_1x: int,
) -> None: ...  # fmt: skip
@_script
def INHERIT(
    *, stream: Key, retry: Key, delayed: Key, bodies: Key, dead: Key, notes: Key, groups: Key,
    heirs_retry: Key, heirs_delayed: Key, heirs_bodies: Key, heirs_dead: Key,
    group: str, heir: str, most: int, last: str, nobody: str, silent: int, silent_1x: int,
) -> None: ...  # fmt: skip
@_script
def SEEK(
    *, stream: Key, retry: Key, delayed: Key, bodies: Key, notes: Key, groups: Key,
    group: str, place: str, most: int, what: bytes, cursor: bytes | int,
    nobody: str, silent: int, silent_1x: int,
) -> None: ...  # fmt: skip
@_script
def HAND_BACK(
    *, stream: Key, retry: Key, delayed: Key, bodies: Key, dead: Key, notes: Key, groups: Key,
    group: str, most: int, what: bytes, cursor: bytes, letters: int, acts: int,
    idle: int, nobody: str, silent: int,
) -> None: ...  # fmt: skip
@_script
def SPAN(*, stream: Key, after: str, till: str, most: int) -> None: ...
@_script
def FORGET(*, source: Key, group: str, idle: int, only: str, stays: str) -> None: ...
@_script
def RENEW(*, source: Key, group: str, consumer: str, ids: Many) -> None: ...
@_script
def ADOPT(*, source: Key, group: str, consumer: str, ids: Many) -> None: ...
@_script
def EXCUSE(*, source: Key, group: str, consumer: str, ids: Many) -> None: ...
@_script
def REREAD(*, source: Key, group: str, consumer: str, ids: Many) -> None: ...
@_script
def RESTAMP(*, source: Key, group: str, most: int, first: str, idle: int) -> None: ...
@_script
def CLAIM(
    *, source: Key, group: str, consumer: str, lease: int, cursor: str, most_deliveries: int, max_deaths: int
) -> None: ...
@_script
def FINISH(
    *, source: Key, handled: Keys, group: str, milliseconds: int, is_retry: int, ids: Many
) -> None: ...
@_script
def RETRY(
    *, source: Key, delayed: Key, bodies: Key, notes: Key, groups: Key,
    group: str, entry: str, origin: str, delay: int, is_retry: int, made: str, fields: Many,
) -> None: ...  # fmt: skip
@_script
def PROMOTE(*, delayed: Key, bodies: Key, retry: Key, dead: Key, most: int, longest: int) -> None: ...
@_script
def MOVE(
    *,
    source: Key,
    target: Key,
    notes: Key,
    groups: Key,
    group: str,
    entry: str,
    is_retry: int,
    made: str,
    fields: Many,
) -> None: ...
@_script
def PUBLISH(
    *, contract: Key, publishers: Key, blob: bytes, seconds: int, publisher: str, is_renewal: int
) -> None: ...
@_script
def WITHDRAW(*, contract: Key, publishers: Key, blob: bytes, publisher: str, digest: str) -> None: ...
@_script
def ENLIST(*, schemas: Key, names: Many) -> None: ...
@_script
def OWN(*, owners: Key, service: str, process: str, lease: int) -> None: ...
@_script
def TICK(*, schedule: Key, holder: str, tick: int, lease: int, kept: int, catches_up: int) -> None: ...
@_script
def CHANGE_PAUSES(*, pauses: Key, changes: Many) -> None: ...
@_script
def HOLD(*, schedule: Key, holder: str, lease: int, kept: int) -> None: ...
