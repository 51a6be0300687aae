"""The refusals of Redis: the meaning of each code, and the reaction to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from lightbus.exceptions import TransportError
from lightbus.transports.redis.scripts import Run


class Reaction(Enum):
    """The reaction to a refusal. After the start, no refusal ends a host."""

    #: We asked for it ourselves; it is no failure.
    IGNORE = auto()
    #: It passes by itself: everybody tries again with backoff, callers for as long as they have time.
    RETRY = auto()
    #: This connection or server is the wrong one: as RETRY, over a new connection, for which Sentinel is
    #: asked and the password is read again.
    RECONNECT = auto()
    #: A person has to act: callers get an error at once, all others try again with backoff.
    RAISE = auto()
    #: The key holds something else: as RAISE, but a message that can never be stored there is given up.
    GIVE_UP = auto()
    #: The script is sent along.
    SEND_SCRIPT = auto()
    #: The group is made again where it was.
    MAKE_GROUP = auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The meaning of one code.

    Args:
        reaction: The reaction to it.
        means: Says what is the matter and what people can do; empty if only the program reads it.
    """

    reaction: Reaction
    means: str = ""


_ANOTHER_PRIMARY = (
    "correct bus.redis.url, unless bus.redis.sentinel or the host name leads to the primary, which "
    "connecting again finds then"
)
_CLUSTER = "see CLUSTER INFO on the server"

#: By the first word of the error; MAXCLIENTS is our own, since Redis says only ERR.
REFUSALS = {
    "UNBLOCKED": Refusal(Reaction.IGNORE),
    "BUSYGROUP": Refusal(Reaction.IGNORE),
    "NOSCRIPT": Refusal(Reaction.SEND_SCRIPT),
    "NOGROUP": Refusal(Reaction.MAKE_GROUP, "the consumer group was deleted, or its stream, or all data"),
    "LOADING": Refusal(Reaction.RETRY, "it still reads its data from disk; wait until it has"),
    "BUSY": Refusal(
        Reaction.RETRY, "somebody's script runs for too long; wait for it, or end it with SCRIPT KILL"
    ),
    "TRYAGAIN": Refusal(Reaction.RETRY, "the cluster moves these keys to another node; wait until it has"),
    "CLUSTERDOWN": Refusal(Reaction.RETRY, f"a part of the cluster is down; {_CLUSTER}"),
    "MAXCLIENTS": Refusal(
        Reaction.RETRY,
        "it has as many connections as it takes; raise its maxclients, or find their owners with CLIENT LIST",
    ),
    "READONLY": Refusal(Reaction.RECONNECT, f"it is a replica, which takes no writes; {_ANOTHER_PRIMARY}"),
    "MASTERDOWN": Refusal(
        Reaction.RECONNECT, f"it is a replica that has lost its primary; {_ANOTHER_PRIMARY}"
    ),
    "NOAUTH": Refusal(
        Reaction.RECONNECT, "it asks for a password; give bus.redis.password, which may be ${file:/path}"
    ),
    "WRONGPASS": Refusal(
        Reaction.RECONNECT, "it refused the password or user; correct bus.redis.password or username"
    ),
    "OOM": Refusal(
        Reaction.RAISE,
        "its memory is full; raise its maxmemory, or start more workers and listeners",
    ),
    "MISCONF": Refusal(
        Reaction.RAISE,
        "it can't save its data and takes no writes until it can; its log says why (a full disk?)",
    ),
    # Said too by a primary that Sentinel has replaced and not yet told so, for some ten seconds.
    "NOREPLICAS": Refusal(
        Reaction.RECONNECT,
        "it has fewer replicas than its min-replicas-to-write asks for, and takes no writes; start them",
    ),
    "NOPERM": Refusal(
        Reaction.RAISE,
        "this user may not do that; allow it by ACL SETUSER (all commands and keys of Lightbus)",
    ),
    "MOVED": Refusal(
        Reaction.RAISE,
        "another node of its cluster holds that key; use bus.redis.cluster in place of bus.redis.url",
    ),
    "HELD": Refusal(Reaction.RAISE, "an event of the same key goes first, and that was refused"),
    "WRONGTYPE": Refusal(
        Reaction.GIVE_UP, "the key holds something that is not Lightbus's; rename or delete that key"
    ),
}

#: Any other error: a command that the server does not know, a module's own error.
_UNKNOWN = Refusal(Reaction.RAISE)

_CODE = re.compile(r"[A-Z]+(?= |$)")
# Redis 6.2 wraps an error within a script; later ones put their own words after it.
_IN_SCRIPT = re.compile(r"ERR Error running script .*?: *(?:@\w+: *\d+: *)*-?([A-Z]+) ")
# A missing permission within a script has no code: in the words of Redis 6.2 and 7.0, and of later ones.
_NOT_ALLOWED = ("The user executing the script can't", "ACL failure in script")


def code_of(text: str) -> str:
    """Return the code of an error of Redis, such as ``OOM``; ``ERR`` if it has none of its own."""
    if "max number of clients" in text:
        return "MAXCLIENTS"
    if any(words in text for words in _NOT_ALLOWED):
        return "NOPERM"
    match = _IN_SCRIPT.match(text)
    if match is not None:
        return match[1]
    match = _CODE.match(text)
    return match[0] if match else "ERR"


def explain(text: str, code: str = "") -> str:
    """Return an error of Redis with its meaning and a remedy.

    Args:
        text: The text of the error.
        code: Its code, if the text has none.
    """
    means = REFUSALS.get(code or code_of(text), _UNKNOWN).means
    return f"{text.rstrip('.')}: {means}" if means else text


class ReplyError(TransportError):
    """Redis refused a command; printed, it says why and what to do."""

    #: The refused command or key, if Redis does not name it.
    refused = ""

    @property
    def said(self) -> str:
        """The words of Redis, without the arguments of a command that it does not know: a payload, maybe."""
        return str(self.args[0]).partition(", with args beginning with")[0]

    @property
    def code(self) -> str:
        """The code, such as ``NOGROUP`` or ``OOM``."""
        return code_of(self.said)

    @property
    def reaction(self) -> Reaction:
        """The reaction to it."""
        return REFUSALS.get(self.code, _UNKNOWN).reaction

    @property
    def passes(self) -> bool:
        """Whether the same command is worth another try soon."""
        return self.reaction in (Reaction.RETRY, Reaction.RECONNECT)

    def __str__(self) -> str:
        return explain(f"{self.said} ({self.refused})" if self.refused else self.said, self.code)

    def note_script(self, run: Run) -> None:
        """Name the refused command or keys of a script, if Redis does not."""
        if self.code == "NOPERM" and "access" in self.said:
            self.refused = f"one of {', '.join(run.keys)}"
        elif self.code == "NOPERM" and "permissions to run" not in self.said:
            self.refused = run.script.command_at(self.said)


def must_reconnect(reply: object) -> bool:
    """Tell whether a reply says that this connection is of no use."""
    return isinstance(reply, ReplyError) and reply.reaction is Reaction.RECONNECT
