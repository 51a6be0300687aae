"""The commands and keys of somebody who looks after a bus, by ``status``, ``inspect``, ``dlq`` and ``group``.

Their keys are patterns: an operator has to do with all APIs and all groups.
"""

from __future__ import annotations

from collections.abc import Iterator

from lightbus.declared.settings import CONTROL
from lightbus.transports.redis import keys, scripts
from lightbus.transports.redis.link.permissions import Channel, Command, Key, Need

from .needs import ANY, calls, needed, reads_answers, rings, runs, runs_script

#: Stands for any stream of events.
ANY_STREAM = keys.any_stream()


def roles_of_operators(*, is_cluster: bool) -> dict[str, tuple[Need, ...]]:
    """Return what an operator does besides what everybody does, with the needs of each.

    Args:
        is_cluster: Whether Redis is a cluster.
    """
    roles = {
        "looks at the bus": looks(),
        "notes in the audit what it does": audits(),
        "pauses listeners and schedules": pauses(),
        "replays and drops dead letters": settles_dead_letters(),
        "changes groups of listeners": changes_groups(),
        **({"rings, and hears bells": rings_and_hears()} if is_cluster else {}),
    }
    return {role: tuple(needs) for role, needs in roles.items()}


def looks() -> Iterator[Need]:
    """The needs of looking: ``status``, ``inspect``, ``dlq list``, ``group list``."""
    key, stream, noted = Key(ANY), Key(ANY_STREAM), Key(keys.STREAMS)
    commands: list[Command] = [
        *(("CLIENT", "UNBLOCK", 0), ("SCRIPT", "LOAD", "return 1"), ("SCAN", 0)),
        *(("TYPE", key), ("EXISTS", key), ("GET", key), ("HGET", key, ""), ("HKEYS", key), ("LLEN", key)),
        ("ZSCORE", key, ""),
        *(("SMEMBERS", key), ("ZCARD", key), ("ZRANGE", key, 0, 0), ("ZRANGEBYSCORE", key, 0, 1)),
        *(("HGETALL", key), ("HMGET", key, ""), ("XLEN", key)),
        *(("XINFO", "STREAM", key), ("XINFO", "GROUPS", key), ("XINFO", "CONSUMERS", key, "")),
        *(("XPENDING", key, ""), ("XRANGE", key, "-", "+"), ("XREVRANGE", key, "+", "-")),
        ("XREAD", "STREAMS", key, "0"),
        *runs_script(scripts.COUNT, [stream]),
        *(("SADD", noted, ""), ("SET", Key(keys.SEARCHED), 1)),
    ]
    yield from needed(commands, "look at the bus")


def pauses() -> Iterator[Need]:
    """The needs of ``pause``, ``resume``, ``schedule pause`` and ``schedule resume``."""
    yield from needed(_changes_pauses(), "pause listeners and schedules")


def _changes_pauses() -> Iterator[Command]:
    paused = Key(keys.paused_key(ANY))
    yield from (("HGET", paused, ""), ("HSET", paused, "", ""), ("HDEL", paused, ""))
    yield from runs_script(scripts.CHANGE_PAUSES, [paused])


def audits() -> Iterator[Need]:
    """The needs of noting in the audit what one does."""
    yield from needed([("XADD", Key(keys.AUDIT), "*", "", "")], "note in the audit what they do")


def runs_schedules(*, is_cluster: bool) -> Iterator[Need]:
    """The needs of ``schedule run``, of any service that allows it."""
    api = f"{CONTROL}{ANY}"
    yield from (*calls(api, is_cluster=is_cluster), *reads_answers())
    if is_cluster:
        yield from rings(keys.queue_key(api))


def settles_dead_letters() -> Iterator[Need]:
    """The needs of ``dlq replay``, ``edit`` and ``drop``, and of the same in the console."""
    side = keys.GroupKeys(ANY_STREAM, ANY)
    dead, retry = Key(side.dead), Key(side.retry)
    commands: list[Command] = [
        *runs_script(scripts.REPLAY, [dead, retry]),
        *(("XADD", retry, "*", "", ""), ("XDEL", dead, "0-0")),
        *(("HSET", Key(keys.ERRANDS), "", ""), ("HDEL", Key(keys.ERRANDS), "")),
    ]
    yield from needed(commands, "replay and drop dead letters")
    # By its lease, one console at a time does what was asked of any.
    yield from runs("errands")


def changes_groups() -> Iterator[Need]:
    """The needs of ``group move``, ``seek``, ``rm`` and ``hand-back``."""
    side, heir = keys.GroupKeys(ANY_STREAM, ANY), keys.GroupKeys(ANY_STREAM, ANY)
    stream, retry, dead = Key(ANY_STREAM), Key(side.retry), Key(side.dead)
    delayed, bodies, notes, groups = Key(side.delayed), Key(side.bodies), Key(side.notes), Key(side.groups)
    own = [stream, retry, delayed, bodies, dead, notes, groups]
    handled = Key(f"{side.handled}{ANY}")
    commands: list[Command] = [
        *runs_script(scripts.REMOVE, own),
        *runs_script(scripts.SUCCEED, [stream, retry, Key(heir.retry), notes, groups]),
        *runs_script(scripts.INHERIT, own),
        *runs_script(scripts.SEEK, [stream, retry, delayed, bodies, notes, groups]),
        *runs_script(scripts.SPAN, [stream]),
        *(("TYPE", each) for each in (retry, dead, delayed, bodies)),
        *(
            command
            for source in (stream, retry)
            for command in (
                *(("XACK", source, ANY, "0-0"), ("XCLAIM", source, ANY, "", 0, "0-0")),
                *(("XGROUP", "CREATE", source, ANY, 0), ("XGROUP", "SETID", source, ANY, 0)),
                *(("XPENDING", source, ANY), ("XGROUP", "DESTROY", source, ANY)),
            )
        ),
        *(("XADD", each, "*", "", "") for each in (retry, dead)),
        *(("XDEL", each, "0-0") for each in (retry, dead)),
        *(("ZRANGE", delayed, 0, 0), ("ZADD", delayed, 1, ""), ("ZREM", delayed, "")),
        *(("HGET", bodies, ""), ("HSET", bodies, "", ""), ("HDEL", bodies, "")),
        *(("HGET", notes, ""), ("HSET", notes, "", ""), ("HGET", groups, ""), ("HDEL", groups, "")),
        *(
            ("UNLINK", retry, delayed, bodies, dead, notes),
            ("UNLINK", handled),
            ("RENAMENX", handled, handled),
        ),
        *_changes_pauses(),
    ]
    yield from needed(commands, "change groups of listeners")


def rings_and_hears() -> Iterator[Need]:
    """The needs of ``dlq replay`` and ``group move`` on a cluster, and of ``inspect --follow``."""
    bell = Channel(keys.bell_key(ANY_STREAM))
    commands: list[Command] = [("SPUBLISH", bell, ""), ("SSUBSCRIBE", bell)]
    yield from needed(commands, "ring for listeners and hear what is fired", is_assumed=True)
