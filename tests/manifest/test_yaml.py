"""Strict YAML."""

from __future__ import annotations

import time

import pytest

from lightbus.manifest.text.yaml import Unreadable, parse

from .conftest import Folder


def values(text: str) -> object:
    root, mistakes = parse(text.encode(), "x.yaml")
    assert mistakes == []
    return plain(root.value)


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {k: plain(n.value) for k, n in value.items()}
    return [plain(n.value) for n in value] if isinstance(value, list) else value


def test_scalars_are_read_as_in_yaml_1_2() -> None:
    text = "a: no\nb: 010\nc: 1:30\non: off\nd: True\ne: 0x1f\nf: 1.5e3\ng: ~\nh: '7'\ni: 1_000\n"
    text += "j: 2026-01-01\nk: .inf"
    assert values(text) == {
        "a": "no", "b": "010", "c": "1:30", "on": "off", "d": True, "e": 31, "f": 1500.0, "g": None, "h": "7",
        "i": "1_000", "j": "2026-01-01", "k": ".inf",
    }  # fmt: skip


def test_json_is_yaml() -> None:
    assert values('{"a": {"b": [1, true, null, "x"]},\n\t"c": "\\u00e9"}') == {
        "a": {"b": [1, True, None, "x"]},
        "c": "é",
    }


def test_anchors_and_merge_keys_work_as_in_lightbus_1_x() -> None:
    text = "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: {<<: [*x, {c: 4}]}"
    assert values(text) == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": {"a": 1, "b": 2, "c": 4}}


def test_equal_keys_are_refused_with_both_places(folder: Folder) -> None:
    text = "bus:\n  log_level: info\n  drain_timeout: 1s\n  log_level: debug\n"
    assert folder.problems(text) == ["lightbus.yaml:4:3  the key 'log_level' is already at 2:3; keep one"]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, ":4:29  more than 10,000 values, counting what aliases repeat"),
        ("a: &a [*a]", ":1:8  this alias repeats what it lies in"),
        ("bus: *base", ":1:6  this alias repeats an anchor that is not set"),
        ("service_name: !!python/object/apply:os.system [ls]", ":1:15  tags are not allowed"),
        ("service_name: !secret x", ":1:15  tags are not allowed"),
        ("!!map {service_name: a}", ":1:1  tags are not allowed"),
        ("apis: {auth: !a {}}", ":1:14  tags are not allowed"),
        ("service_name: !!str x", ":1:15  tags are not allowed"),
        (b"service_name: caf\xe9", ":1:18  not UTF-8"),
        ("service_name: a".encode("utf-16"), ":1:1  not UTF-8"),
        ("service_name: \x07", ":1:15  a control character"),
        ("# é\nservice_name: é\x00", ":2:16  a control character"),
        ("a: b\n---\nc: d", ":2:1  a second document"),
        ("[" * 60, ":1:50  nested deeper than 48 levels"),
        ("[" * 100_000, "nested deeper than 48 levels"),
        ("? [a, b]\n: c", ":1:3  a key must be text"),
        ("bus: {1: 2}", ":1:7  a key must be text"),
        ("bus: {true: 2}", ":1:7  a key must be text"),
        ("bus: 'x", "not YAML: found unexpected end of stream; a quote or bracket was not closed"),
        ("a: b: c", ":1:5  not YAML: mapping values are not allowed in this context"),
        ("bus: {redis: {url: ${URL}}}", "not YAML: did not find expected ',' or '}'; within brackets, quote"),
        ("\tbus: {}", ":1:1  not YAML: found character that cannot start any token; a tab can't indent"),
        ("- a\n- b", ":1:1  must be a map of keys and values"),
        ("just text", ":1:1  must be a map of keys and values"),
        (b"x" * (1024 * 1024 + 1), " is larger than 1024 KiB"),
    ],
    ids=lambda value: repr(value[:24]),
)  # fmt: skip
def test_what_no_manifest_may_hold_is_one_clear_line(folder: Folder, text: str | bytes, told: str) -> None:
    (problem,) = folder.problems(text)
    assert problem.startswith("lightbus.yaml") and told in problem


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null", "{}", "\ufeffservice_name: a"])
def test_a_file_may_say_nothing(folder: Folder, text: str) -> None:
    assert folder.read(text).modules == ("bus",)


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "{",
        "{a: ",
        "- ",
        "? ",
        "a: ",
        "&a ",
        "!",
        "'",
        '"\\\n',
        "a\n",
        "%",
        "--- ",
        ": ",
        "#",
        "a:\n ",
        "${file:",
    ],
)
def test_a_megabyte_of_anything_is_told_soon(folder: Folder, piece: str) -> None:
    data = (piece * (1024 * 1024 // len(piece))).encode()
    for text in (data, b"service_name: '" + data.replace(b"'", b"")[:-20] + b"'"):
        started = time.process_time()
        try:
            parse(text, "x.yaml")
            folder.read(text)
        except (Unreadable, Exception) as e:
            assert type(e).__name__ in ("Unreadable", "InvalidManifest")
        assert time.process_time() - started < 5  # What is quadratic takes minutes.
