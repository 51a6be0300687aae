"""The slot of each command: the same as that of the servers, and found without asking them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from lightbus.transports.redis.link.cluster import slots
from lightbus.transports.redis.link.cluster.slots import (
    ANYWHERE,
    keys_of,
    slot_of_command,
    slot_of_key,
    slots_of_command,
)
from lightbus.transports.redis.scripts import MAKE, TAKE


@given(st.text(alphabet="{}ab:\udcff\u20ac") | st.binary())
@example("{}a")
@example("a{b}c{d}")
@example("{a")
@example("}{a}")
def test_the_slot_of_a_key_is_that_of_the_servers(key: str | bytes) -> None:
    raw = key if isinstance(key, bytes) else key.encode("utf-8", "surrogateescape")
    assert slot_of_key(key) == key_slot(raw)
    assert slot_of_key(key) == key_slot(raw)  # From those that are remembered.


def test_only_so_many_slots_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_MOST", 10)
    monkeypatch.setattr(slots, "_known", {})
    for number in range(100):
        slot_of_key(str(number))
    assert len(slots._known) <= 10


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (("XADD", "a", "*", "b", "c"), ["a"]),
        (("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "a", "b", ">", ">"), ["a", "b"]),
        (("XREAD", "COUNT", 1, "BLOCK", 2000, "STREAMS", b"a", "0-0"), [b"a"]),
        (("XINFO", "GROUPS", "a"), ["a"]),
        (("XGROUP", "CREATE", "a", "g", "$"), ["a"]),
        (TAKE(queue="a", mine="b", register="c", most=3).by_name(), ["a", "b", "c"]),
        (MAKE(stream="a", retry="b", notes="c", groups="d", group="g", start="0").by_text(), [*"abcd"]),
        (("EVAL", "return 1", 0), []),
        (("BLMOVE", "a", "b", "LEFT", "RIGHT", 2), ["a", "b"]),
        (("BRPOP", "a", 2), ["a"]),
        (("RENAMENX", "a", "b"), ["a", "b"]),
        (("UNLINK", "a", "b"), ["a", "b"]),
        (("MGET", "a"), ["a"]),
        (("SET", "a", "b", "EX", 1), ["a"]),
        (("SPUBLISH", "a", ""), ["a"]),
        (("SCAN", 0, "MATCH", "a"), []),
        (("SCRIPT", "LOAD", "a"), []),
        (("TIME",), []),
    ],
)  # fmt: skip
def test_the_keys_of_a_command_are_those_that_a_server_looks_at(
    command: tuple[Any, ...], keys: list[Any]
) -> None:
    assert list(keys_of(command)) == keys
    assert slot_of_command(command) == (slot_of_key(keys[0]) if keys else ANYWHERE)
    assert slots_of_command(command) == set(map(slot_of_key, keys))


def test_slots_are_found_without_the_library_of_redis() -> None:
    show = f"import sys, {slots.__name__}; print([n for n in ('redis', 'hiredis') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
