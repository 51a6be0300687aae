"""The commands and keys that each role needs: the one table by which permissions are looked at.

A command stands here as it is sent, or as a script does it. The keys of a script are asked for together:
Redis wants all of them before it begins. The commands within it are asked for one by one, as Redis does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lightbus.transports.redis import keys, scripts
from lightbus.transports.redis.link.permissions import Channel, Command, Key, Need
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.scripts import Script

#: Stands for what differs from process to process and from message to message.
ANY = "*"


def everybody(*, is_cluster: bool = False, database: int = 0) -> Iterator[Need]:
    """The needs of every process.

    Args:
        is_cluster: Whether Redis is a cluster.
        database: The number of the database.
    """
    commands: list[Command] = [
        *(("PING",), ("CLIENT", "ID"), ("CLIENT", "INFO"), ("INFO",), ("COMMAND", "INFO", "GET"), ("TIME",)),
        ("MULTI",),
        *(("SMEMBERS", Key(keys.SCHEMAS)), ("GET", Key(keys.schema_key(ANY)))),
        *((("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"), ("ASKING",)) if is_cluster else ()),
        *((("SELECT", database),) if database else ()),
    ]
    yield from needed(commands, "use the bus at all")


def hosts(service: str, *, renames: bool = False) -> Iterator[Need]:
    """The needs of every process of a service that takes messages.

    Args:
        service: The service.
        renames: Whether one of its listeners had another name before, whose pause it takes along.
    """
    commands: list[Command] = [
        *(("CLIENT", "UNBLOCK", 0), ("SCRIPT", "LOAD", "return 1")),
        *(("EVALSHA", scripts.TAKE.sha, 0), ("EVAL", "return 1", 0)),
    ]
    yield from needed(commands, "take calls and events")
    pauses: list[Command] = [("HGETALL", Key(keys.paused_key(service)))]
    yield from needed(pauses, "heed pauses of listeners and schedules", is_optional=True)
    if renames:
        paused = Key(keys.paused_key(service))
        moved: list[Command] = [
            *(("HGET", paused, ""), ("HSET", paused, "", "")),
            *runs_script(scripts.CHANGE_PAUSES, [paused]),
        ]
        yield from needed(moved, "take along the pauses of renamed listeners", is_optional=True)
    noted: list[Command] = [("SET", Key(keys.declared_key(service)), "", "EX", 1)]
    yield from needed(noted, "note what it declares for lightbus plan", is_optional=True)


def shows(service: str) -> Iterator[Need]:
    """The needs of every process of a service that is to be seen by those who look at the bus."""
    card, all_cards = Key(keys.card_key(service, ANY)), Key(keys.CARDS)
    commands: list[Command] = [
        *(("SET", card, "", "EX", 1), ("DEL", card), ("ZADD", all_cards, 1, ""), ("ZREM", all_cards, "")),
        ("ZREMRANGEBYSCORE", all_cards, 0, 1),
    ]
    yield from needed(commands, "be seen by lightbus status", is_optional=True)


def calls(api: str, *, is_cluster: bool = False) -> Iterator[Need]:
    """The needs of callers of an API, at the Redis of calls."""
    expiry, queue = _expiry(api, is_cluster=is_cluster), Key(keys.queue_key(api))
    contract, publishers = Key(keys.schema_key(api)), Key(keys.publishers_key(api))
    commands: list[Command] = [
        *(("SET", expiry, 1, "EX", 1), ("DEL", expiry), ("RPUSH", queue, ""), ("LREM", queue, 1, "")),
        *(("EXISTS", Key(keys.served_key(api))), ("TYPE", queue)),
        *(("GET", contract), ("ZRANGEBYSCORE", publishers, 0, "+inf")),
        *(runs_script(scripts.CALL, [queue, expiry]) if is_cluster else ()),
    ]
    yield from needed(commands, f"call {api}", is_assumed=True)


def knows(api: str) -> Iterator[Need]:
    """The needs of those who only look whether the queue of an API is one."""
    yield from needed([("TYPE", Key(keys.queue_key(api)))], f"check the queue of {api}", is_assumed=True)


def reads_answers() -> Iterator[Need]:
    """The needs of callers, at the Redis of answers."""
    reply = Key(keys.reply_key(ANY))
    commands: list[Command] = [("BRPOP", reply, 1), ("RPOP", reply, 1)]
    yield from needed(commands, "read the answers to calls", is_assumed=True)


def publishes(api: str) -> Iterator[Need]:
    """The needs of publishers of a contract, at the Redis of contracts."""
    contract, publishers = both = [Key(keys.schema_key(api)), Key(keys.publishers_key(api))]
    publish: list[Command] = [
        *(
            *runs_script(scripts.ENLIST, [Key(keys.SCHEMAS)]),
            ("SREM", Key(keys.SCHEMAS), ""),
            ("SADD", Key(keys.SCHEMAS), api),
        ),
        *(*runs_script(scripts.PUBLISH, both), *runs_script(scripts.WITHDRAW, both)),
        *(("GET", contract), ("SET", contract, ""), ("DEL", contract)),
        *(("ZADD", publishers, 1, ""), ("ZREM", publishers, ""), ("ZCARD", publishers)),
        *(("ZRANGEBYSCORE", publishers, 0, 1), ("ZREMRANGEBYSCORE", publishers, 0, 1)),
        ("EXPIRE", publishers, 1),
    ]
    yield from needed(publish, f"publish the contract of {api}")


def owns(api: str) -> Iterator[Need]:
    """The needs of the owner of an API, at the Redis of contracts."""
    owner = Key(keys.owner_key(api))
    own: list[Command] = [
        *(
            *runs_script(scripts.OWN, [owner]),
            ("ZADD", owner, 1, ""),
            ("ZREM", owner, ""),
            ("ZRANGE", owner, 0, 0),
        ),
        *(("ZREMRANGEBYSCORE", owner, 0, 1), ("PEXPIRE", owner, 1)),
    ]
    yield from needed(own, f"own {api}")


def serves(api: str, *, is_cluster: bool = False) -> Iterator[Need]:
    """The needs of workers of an API, at the Redis of calls."""
    expiry, queue = _expiry(api, is_cluster=is_cluster), Key(keys.queue_key(api))
    register = Key(keys.register_key(api))
    taken, present, served = (
        Key(keys.taken_key(api, ANY)),
        Key(keys.presence_key(api, ANY)),
        Key(keys.served_key(api)),
    )
    vital: list[Command] = [
        *(("BLMOVE", queue, taken, "LEFT", "RIGHT", 1), ("PTTL", expiry), ("GETDEL", expiry)),
        *runs_script(scripts.BEGIN, [expiry]),
        *(
            ("LREM", taken, 1, ""),
            *runs_script(scripts.PRESENT, [present, register, served]),
            ("SET", present, 1),
        ),
        *(("SADD", register, ""), ("SET", served, 1, "GET"), ("PEXPIRE", present, 1), ("TYPE", register)),
        ("SCARD", register),
    ]
    more: list[Command] = [
        *(
            *runs_script(scripts.TAKE, [queue, taken, register]),
            ("LRANGE", queue, 0, 0),
            ("LPOP", queue, 1),
            ("RPUSH", taken, ""),
        ),
        *(("SMEMBERS", register), ("EXISTS", present)),
        *runs_script(scripts.RECOVER, [taken, taken, present, register]),
        *(("LRANGE", taken, 0, 0), ("LTRIM", taken, 0, 0), ("SREM", register, "")),
        *(
            *runs_script(scripts.RELEASE, [queue, taken]),
            ("LPOS", taken, ""),
            ("LPUSH", queue, ""),
            ("EXISTS", expiry),
        ),
        *(*runs_script(scripts.LEAVE, [register, present, served]), ("DEL", present)),
        *(("DEL", served), ("TYPE", queue)),
    ]
    yield from needed(vital, f"serve {api}", is_vital=True)
    yield from needed(more, f"serve {api}")


def answers(api: str) -> Iterator[Need]:
    """The needs of workers of an API, at the Redis of answers."""
    reply = Key(keys.reply_key(ANY))
    commands: list[Command] = [
        *runs_script(scripts.ANSWER, [reply]),
        ("LPUSH", reply, ""),
        ("EXPIRE", reply, 1),
    ]
    yield from needed(commands, f"answer calls of {api}", is_vital=True)


def answers_1x(api: str) -> Iterator[Need]:
    """The needs of workers of an API that Lightbus 1.x calls, at the Redis of answers."""
    result = Key(keys.result_key_1x(api, ANY, ANY))
    commands: list[Command] = [
        *runs_script(scripts.ANSWER, [result]),
        ("LPUSH", result, ""),
        ("EXPIRE", result, 1),
    ]
    yield from needed(commands, f"answer calls of {api} by Lightbus 1.x", is_assumed=True)


def fires(api: str, stream: str, *, dedupes: bool = False, promise: Promise | None = None) -> Iterator[Need]:
    """The needs of processes that fire the events of a stream.

    Args:
        api: The API of the events.
        stream: The stream.
        dedupes: Whether some event of it has ``dedupe``.
        promise: The replicas that must have an event before it counts as fired.
    """
    key, trimming, fired = Key(stream), Key(keys.trimming_key(stream)), Key(keys.fired_key(stream, ANY))
    commands: list[Command] = [
        *(("XADD", key, "*", "", ""), ("XREVRANGE", key, "+", "-"), ("XLEN", key), ("TYPE", key)),
        *(*runs_script(scripts.TRIM, [key, trimming]), ("GET", trimming), ("SET", trimming, 1)),
        ("XTRIM", key, "MAXLEN", 1),
        *(
            ("XINFO", "GROUPS", key),
            ("XPENDING", key, ""),
            ("XRANGE", key, "-", "+"),
            *runs_script(scripts.FIND, [key]),
        ),
    ]
    if dedupes:
        commands += [*runs_script(scripts.FIRE, [key, fired]), ("GET", fired), ("SET", fired, "")]
    if promise is not None:
        commands.append(promise.command)
    yield from needed(commands, f"fire events of {api}")
    yield from _notes(stream)
    side = keys.GroupKeys(stream, ANY)
    looks: list[Command] = [
        *(("XINFO", "STREAM", key), ("XINFO", "CONSUMERS", key, "")),
        *(("HMGET", Key(side.notes), ""), ("HMGET", Key(side.groups), "")),
        *(("XINFO", "CONSUMERS", Key(side.retry), ""), ("XLEN", Key(side.retry)), ("XLEN", Key(side.dead))),
        *(("ZCARD", Key(side.delayed)), *runs_script(scripts.COUNT, [key])),
    ]
    yield from needed(looks, f"see which listeners are behind with events of {api}")


def listens(listener: str, stream: str, group: str, *, dedupes: bool = False) -> Iterator[Need]:
    """The needs of a listener for one of its streams.

    Args:
        listener: Its name.
        stream: The stream.
        group: Its group.
        dedupes: Whether it remembers the events that it has handled.
    """
    side = keys.GroupKeys(stream, group)
    key, retry, dead = Key(stream), Key(side.retry), Key(side.dead)
    delayed, bodies, notes, groups = Key(side.delayed), Key(side.bodies), Key(side.notes), Key(side.groups)
    purpose = f"listen as {listener}"
    both = [command for source in (key, retry) for command in _of_source(source, group)]
    vital: list[Command] = [
        ("XREADGROUP", "GROUP", group, "", "STREAMS", retry, key, ">", ">"),
        *(("XACK", source, group, "0-0") for source in (key, retry)),
    ]
    more: list[Command] = [
        *runs_script(scripts.MAKE, [key, retry, notes, groups]),
        *(("HGET", notes, ""), ("HMGET", notes, ""), ("HSET", notes, "", ""), ("HSETNX", notes, "", "")),
        # Earlier versions' notes about all groups are read, and never written to.
        *(("HGET", groups, ""), ("HMGET", groups, "")),
        *(("HINCRBY", notes, "", 0), ("XREVRANGE", key, "+", "-"), *both, ("XDEL", retry, "0-0")),
        *runs_script(scripts.RETRY, [key, delayed, bodies, notes, groups]),
        *runs_script(scripts.RETRY, [retry, delayed, bodies, notes, groups]),
        *(("TYPE", each) for each in (delayed, bodies, retry, dead)),
        *(("HSET", bodies, "", ""), ("HGET", bodies, ""), ("HDEL", bodies, "")),
        *(("ZADD", delayed, 1, ""), ("ZREM", delayed, ""), ("ZRANGEBYSCORE", delayed, 0, 1)),
        *(
            c
            for source in (key, retry)
            for to in (retry, dead)
            for c in runs_script(scripts.MOVE, [source, to, notes, groups])
        ),
        *(("XADD", retry, "*", "", ""), ("XADD", dead, "*", "", "")),
        *runs_script(scripts.PROMOTE, [delayed, bodies, retry, dead]),
        *(("XINFO", "STREAM", key), ("XINFO", "GROUPS", key), *runs_script(scripts.COUNT, [key])),
        *(("XLEN", retry), ("XLEN", dead), ("ZCARD", delayed)),
    ]
    if dedupes:
        handled = Key(f"{side.handled}{ANY}")
        more += [*runs_script(scripts.FINISH, [key, handled]), *runs_script(scripts.FINISH, [retry, handled])]
        more += [("SET", handled, 1), ("EXISTS", handled)]
    yield from needed(vital, purpose, is_vital=True)
    yield from needed(more, purpose)
    yield from _notes(stream)


def takes_over(stream: str, group: str, heir: str, *, dedupes: bool = False) -> Iterator[Need]:
    """The needs of a listener that was renamed, for one of its streams.

    Args:
        stream: The stream.
        group: The group of its name before.
        heir: Its group.
        dedupes: Whether it remembers the events that it has handled.
    """
    old, new = keys.GroupKeys(stream, group), keys.GroupKeys(stream, heir)
    key, retry, dead, notes = Key(stream), Key(old.retry), Key(old.dead), Key(old.notes)
    delayed, bodies, heirs, groups = Key(old.delayed), Key(old.bodies), Key(new.retry), Key(old.groups)
    of_heir = [heirs, Key(new.delayed), Key(new.bodies), Key(new.dead)]
    commands: list[Command] = [
        *runs_script(scripts.SUCCEED, [key, retry, heirs, notes, Key(new.notes), groups]),
        *runs_script(scripts.INHERIT, [key, retry, delayed, bodies, dead, notes, groups, *of_heir]),
        *(("XINFO", "CONSUMERS", source, group) for source in (key, retry)),
        *(("XINFO", "GROUPS", source) for source in (key, heirs)),
        *(
            ("HGET", notes, ""),
            ("HMGET", notes, ""),
            ("HSET", notes, "", ""),
            ("HSET", Key(new.notes), "", ""),
        ),
        *(("HGET", groups, ""), ("HMGET", groups, ""), ("HDEL", groups, "")),
        *(("XGROUP", "SETID", source, group, 0) for source in (key, heirs)),
        *(("XGROUP", "CREATE", heirs, heir, 0), ("XGROUP", "CREATE", key, heir, 0)),
        *(("XGROUP", "DESTROY", key, group), ("UNLINK", retry, delayed, bodies, dead, notes)),
        *(("TYPE", each) for each in (retry, dead, delayed, bodies, *of_heir)),
        *((what, source, group) for what in ("XPENDING",) for source in (key, retry)),
        *(("XACK", source, group, "0-0") for source in (key, retry)),
        *(("XCLAIM", source, heir, "", 0, "0-0") for source in (key, heirs)),
        *(("XRANGE", source, "-", "+") for source in (key, retry, dead)),
        *(("XREVRANGE", heirs, "+", "-"), ("XADD", heirs, "*", "", ""), ("XADD", of_heir[3], "*", "", "")),
        *(("XDEL", retry, "0-0"), ("XDEL", dead, "0-0"), ("XLEN", retry), ("XLEN", dead)),
        *(("ZRANGE", delayed, 0, 0), ("ZREM", delayed, ""), ("ZADD", of_heir[1], 1, ""), ("ZCARD", delayed)),
        *(("HGET", bodies, ""), ("HDEL", bodies, ""), ("HSET", of_heir[2], "", "")),
    ]
    if dedupes:
        handled, remembered = Key(f"{old.handled}{ANY}"), Key(f"{new.handled}{ANY}")
        commands += [("SCAN", 0), ("RENAMENX", handled, remembered)]
    yield from needed(commands, f"take over the group {group}")


def rings(key: str) -> Iterator[Need]:
    """The needs of those who add to what others wait for at a key of a cluster."""
    bell = Channel(keys.bell_key(key))
    yield from needed([("SPUBLISH", bell, "")], f"ring for those who wait at {key}", is_assumed=True)


def hears(key: str) -> Iterator[Need]:
    """The needs of those who wait at a key of a cluster by a bell."""
    bell = Channel(keys.bell_key(key))
    yield from needed([("SSUBSCRIBE", bell)], f"hear at once of what comes to {key}", is_assumed=True)


def runs(schedule: str) -> Iterator[Need]:
    """The needs of the processes that share a schedule."""
    key = Key(keys.schedule_key(schedule))
    commands: list[Command] = [
        *(
            *runs_script(scripts.TICK, [key]),
            *runs_script(scripts.HOLD, [key]),
            ("HGET", key, ""),
            ("HMGET", key, ""),
        ),
        *(("HSET", key, "", ""), ("PEXPIRE", key, 1)),
    ]
    yield from needed(commands, f"run the schedule {schedule}")


def _expiry(api: str, *, is_cluster: bool) -> Key:
    return Key(keys.expiry_prefix(api, is_cluster=is_cluster) + ANY)


def _notes(stream: str) -> Iterator[Need]:
    """The needs for noting a stream, so that nobody has to search for it."""
    yield from needed([("SADD", Key(keys.STREAMS), stream)], "note which streams there are", is_assumed=True)


def _answering(replies: Key) -> list[Command]:
    """The commands that put an answer on its caller's list."""
    return [*runs_script(scripts.ANSWER, [replies]), ("LPUSH", replies, ""), ("EXPIRE", replies, 1)]


def _of_source(source: Key, group: str) -> Iterator[Command]:
    """The needs of the leases of a group on a stream that it reads."""
    yield from runs_script(scripts.RENEW, [source])
    yield from (
        ("XPENDING", source, group),
        ("XCLAIM", source, group, "", 0, "0-0"),
        ("XRANGE", source, "-", "+"),
        ("XINFO", "CONSUMERS", source, group),
        ("XGROUP", "CREATE", source, group, 0),
        ("XGROUP", "CREATECONSUMER", source, group, ""),
        ("XGROUP", "DELCONSUMER", source, group, ""),
        ("TYPE", source),
    )


def runs_script(script: Script[...], keys: Iterable[str]) -> Iterator[Command]:
    """The commands that run a script on some keys."""
    given = list(keys)
    for name, what in (("EVALSHA", script.sha), ("EVAL", "return 1")):
        yield (name, what, len(given), *given)


def needed(
    commands: Iterable[Command],
    purpose: str,
    *,
    is_vital: bool = False,
    is_assumed: bool = False,
    is_optional: bool = False,
) -> Iterator[Need]:
    """Return commands as needs, each once."""
    for command in dict.fromkeys(commands):
        yield Need(command, purpose, is_vital, is_assumed, is_optional)
