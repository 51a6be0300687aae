"""The names of keys in Redis: of calls, contracts, owners, schedules, streams and their groups."""

from __future__ import annotations

import hashlib
import re

#: How the key of a stream ends that carries all events of an API, and which keys may be those of streams at
#: all, as a pattern of Redis.
PER_API = ".*:stream"
ANY_STREAM = "*.*:stream*"
#: The keys that a call may name as its return path: the one list of a caller of this version, or what
#: Lightbus 1.x makes for each call. An answer must never touch any other, such as a queue.
REPLY_KEYS = r"lightbus:reply:[A-Za-z0-9_-]{43}|[A-Za-z][\w.]{0,255}\.\w{1,255}:result:[0-9a-fA-F-]{32,36}"
#: The characters of a key that mean something else in a pattern of Redis, but for the star.
_GLOB = re.compile(r"[?\[\]\\]")
_DEAD = re.compile(r"\{(.+:stream)\}:dead:(.+)", re.DOTALL)

#: The set of the streams of events that a Redis has, and what says that it was searched for them once.
STREAMS = "lightbus:streams"
SEARCHED = "lightbus:streams:searched"
#: The set of the names of all APIs whose contracts were ever published.
SCHEMAS = "schemas"
#: The processes that have a card, by the time when it ends.
CARDS = "lightbus:cards"
#: The stream of what operators have done.
AUDIT = "lightbus:audit"
#: The hash of what operators want to be done by any console.
ERRANDS = "lightbus:errands"


def queue_key(api_name: str) -> str:
    """Return the key of an API's queue of calls."""
    return f"{api_name}:rpc_queue"


def expiry_prefix(api_name: str, *, is_cluster: bool) -> str:
    """Return the beginning of the keys whose removal is the right to run a call; the call's id follows.

    On a cluster, the tag in braces keeps them in the slot of the queue, so that one script sets the key and
    pushes the call. Elsewhere they have the name that Lightbus 1.x gives them.
    """
    return f"{{{queue_key(api_name)}}}:expiry:" if is_cluster else "rpc_expiry_key:"


def served_key(api_name: str) -> str:
    """Return the key that is there while some process of this version serves an API."""
    return f"{{{queue_key(api_name)}}}:served"


def register_key(api_name: str) -> str:
    """Return the key of the set of processes that serve an API, absent ones included for a while."""
    return f"{{{queue_key(api_name)}}}:processes"


def taken_key(api_name: str, member: str) -> str:
    """Return the key of the calls that a process of the register has taken."""
    return f"{{{queue_key(api_name)}}}:taken:{member}"


def presence_key(api_name: str, member: str) -> str:
    """Return the key that is there while a process of the register shows signs of life."""
    return f"{{{queue_key(api_name)}}}:present:{member}"


def bell_key(key: str) -> str:
    """Return the channel on which those hear of something new who wait at a key of a cluster.

    It lies in the slot of that key, and is the same for all keys that lie there since they have one tag.
    """
    start = key.find("{")
    end = key.find("}", start + 1) if start >= 0 else -1
    return f"{{{key[start + 1 : end] if end > start + 1 else key}}}:bell"


def reply_key(caller: str) -> str:
    """Return the key of the list on which the answers to one caller arrive."""
    return f"lightbus:reply:{caller}"


def result_key_1x(api_name: str, procedure: str, call_id: str) -> str:
    """Return the key of the list on which Lightbus 1.x gets the answer to one call."""
    return f"{api_name}.{procedure}:result:{call_id}"


def schema_key(api_name: str) -> str:
    """Return the key of an API's contract."""
    return f"schema:{api_name}"


def publishers_key(api_name: str) -> str:
    """Return the key of the processes that stand for an API's contract."""
    return f"{{{schema_key(api_name)}}}:publishers"


def owner_key(api_name: str) -> str:
    """Return the key of the processes that own an API."""
    return f"lightbus:owner:{api_name}"


def schedule_key(schedule: str) -> str:
    """Return the key that remembers a schedule's last tick."""
    return f"lightbus:schedule:{schedule}"


def card_key(service: str, process: str) -> str:
    """Return the key of the card of a process."""
    return f"lightbus:card:{service}:{process}"


def paused_key(service: str) -> str:
    """Return the key of the pauses of a service's listeners and schedules."""
    return f"lightbus:paused:{service}"


def contract_digest(blob: bytes) -> str:
    """Return the digest by which its publishers name a contract."""
    # The only one that a script can compute, too.
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()[:16]


def declared_key(service_name: str) -> str:
    """Return the key of what a service declared when it was started last."""
    return f"lightbus:declared:{service_name}"


def stream_key(api_name: str, event_name: str, stream_use: str) -> str:
    """Return the key of the stream that carries an event."""
    return f"{api_name}.{event_name if stream_use == 'per_event' else '*'}:stream"


def is_stream(key: str) -> bool:
    """Tell whether a key is that of a stream of events."""
    return key[:1] != "{" and key.endswith(":stream")


def owner_of_dead(key: str) -> tuple[str, str] | None:
    """Return the stream and the group whose dead letters a key holds; None for any other key."""
    found = _DEAD.fullmatch(key)
    return (found[1], found[2]) if found else None


def any_stream() -> str:
    """Return the pattern of the keys of all streams of events."""
    return "*:stream"


def pattern_of(key: str) -> str:
    """Return the pattern of an ACL rule that fits a key, in which a star stands for any text.

    The star in the name of a stream with all events of an API is no wildcard. A pattern can't have spaces.
    """
    escaped = _GLOB.sub(r"\\\g<0>", key).replace(PER_API, PER_API.replace("*", "\\*"))
    return re.sub(r"\s", "?", escaped)


def fired_key(stream: str, message_id: str) -> str:
    """Return the key that remembers an event that was fired with ``dedupe``."""
    return f"{{{stream}}}:fired:{message_id}"


def trimming_key(stream: str) -> str:
    """Return the key of the lease that one process at a time has to trim a stream."""
    return f"{{{stream}}}:trimming"


class GroupKeys:
    """The side keys of one group of one stream; the tag in braces keeps them in the stream's slot."""

    __slots__ = ("bodies", "dead", "delayed", "groups", "handled", "made", "notes", "retry")

    def __init__(self, stream: str, group: str) -> None:
        self.retry = f"{{{stream}}}:retry:{group}"
        self.delayed = f"{{{stream}}}:delayed:{group}"
        self.bodies = f"{{{stream}}}:bodies:{group}"
        self.dead = f"{{{stream}}}:dead:{group}"
        #: The beginning of the keys that remember an acknowledged event; its id follows.
        self.handled = f"{{{stream}}}:handled:{group}:"
        #: A hash of the last id that this group has seen, how often it was made, and other notes about it.
        self.notes = f"{{{stream}}}:group:{group}"
        #: The hash of the notes about all groups of the stream that earlier versions had.
        self.groups = f"{{{stream}}}:groups"
        #: How often this group was made, as far as this process knows.
        self.made = "0"
