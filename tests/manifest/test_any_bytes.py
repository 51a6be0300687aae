"""Whatever the bytes: a manifest or located errors, soon, and never a traceback."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightbus.manifest.load import load
from lightbus.manifest.model import Manifest
from lightbus.manifest.printing.reference import reference
from lightbus.manifest.problems import InvalidManifest

CORPUS = [
    reference(),
    "service_name: a\nbus: {redis: {url: '${A:-redis://h:1/0}', sentinel: {service: m, nodes: ['a:1']}}}\n",
    "x-a: &a {rpc_timeout: 3s}\napis: {default: *a, b: {<<: *a, event_transport: {memory: {}}}}\n",
    "policies: {a: {extends: b}, b: {attempts: 2}}\nlisteners: {l: {events: [a.b], handler: 'm:f'}}\n",
    "schedules: {s: {every: 1s, call: 'm:f'}, t: {cron: '0 2 * * *', timezone: UTC, call: 'm:f'}}\n",
    "plugins: {internal_state: {ping_interval: 5}}\nhttp: {listen: null}\nfeatures: [rpcs]\nmodules: [a.b]\n",
]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\n",
    "  ",
    "*a",
    "&a ",
    "!!x ",
    "'",
    '"',
    "null",
    "true",
    "${",
    "}",
    "1e999",
    "...",
]


def outcome(folder: Path, data: bytes) -> Manifest | InvalidManifest:
    path = folder / "m.yaml"
    path.write_bytes(data)
    started = time.process_time()
    try:
        return load(["m.yaml"], environ={}, cwd=folder)
    except InvalidManifest as e:
        assert e.located and all(p.place.source == "m.yaml" or p.path for p in e.located)
        assert all("\n" not in line and line.isprintable() for line in e.problems)
        return e
    finally:
        assert time.process_time() - started < 5  # What is quadratic takes minutes.


RELAXED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@RELAXED
@given(st.binary(max_size=400))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    outcome(tmp_path, data)


@RELAXED
@given(st.text(alphabet=st.sampled_from("{}[]:,-?&*!|>'\"%@`#~$ \n\tab1.x"), max_size=200))
def test_any_text_of_yaml_s_own_characters(tmp_path: Path, text: str) -> None:
    outcome(tmp_path, text.encode())


WORDS = """
bus redis url password tls sentinel service nodes schema transport apis default auth rpc_timeout validate
memory event_transport rpc_transport listeners events handler on_error since policies extends backoff then
give_up_on schedules every cron call plugins internal_state enabled http listen modules features processes
include service_name process_name x-a
"""
KEYS = st.sampled_from(WORDS.split())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    KEYS,
    st.sampled_from(["3s", "a.b", "m:f"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@RELAXED
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_values_under_any_keys(tmp_path: Path, document: dict[str, object]) -> None:
    (tmp_path / "m.yaml").write_text("")
    try:
        load(["m.yaml"], create_arguments=document, environ={}, cwd=tmp_path)
    except InvalidManifest as e:
        assert e.problems


@pytest.mark.parametrize("seed", range(4))
def test_mutations_of_good_manifests(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        text = chance.choice(CORPUS)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            end = at + chance.choice([0, 0, 1, 1, 5, 40])
            text = text[:at] + chance.choice(["", *PIECES, *text.split("\n")]) + text[end:]
        outcome(tmp_path, text.encode())


def test_every_manifest_of_the_corpus_is_good(tmp_path: Path) -> None:
    for text in CORPUS[1:]:
        assert isinstance(outcome(tmp_path, text.encode()), Manifest)


@pytest.mark.parametrize(
    "text",
    [
        "apis:\n" + "\n".join(f"  a{i}: {{rpc_timeout: x}}" for i in range(3_300)),
        "listeners:\n" + "\n".join(f"  a{i}:" for i in range(4_900)),
        "listeners:\n" + "\n".join(f"  a{i}: {{}}" for i in range(4_900)),
        "modules: [" + "x y," * 9_000 + "]",
        "a: &a [" + "b," * 90 + "]\nmodules: [" + "*a," * 90 + "]",
        "policies:\n" + "\n".join(f"  a{i}: {{extends: a{i + 1}}}" for i in range(2_400)),
        "bus: {redis: {url: 'redis://" + "a" * 100_000 + "'}}",
        "service_name: " + "{" * 100_000,
        "apis:\n  " + "a." * 50_000 + "a: {}",
        "\n".join(f"{'k' * 900}{i}: 1" for i in range(1_000)),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_large_manifests_of_any_kind_are_quick(tmp_path: Path, text: str) -> None:
    outcome(tmp_path, text.encode())


MEASURE = """
import sys
from pathlib import Path
from lightbus.manifest.problems import InvalidManifest
from lightbus.manifest.load import load
for path in sys.argv[1:]:
    try:
        load([path], environ={}, cwd=Path())
    except InvalidManifest:
        pass
# Not ru_maxrss, which counts what the parent had before this program began.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def test_memory_stays_under_200_mb(tmp_path: Path) -> None:
    texts = [
        "service_name: '" + "a" * 1_000_000 + "'",
        "listeners:\n" + "\n".join(f"  a{i}: {{x: {'b' * 190}}}" for i in range(3_300)),
        "a: &a ['" + "b" * 900_000 + "']\nx-b: [" + "*a," * 4_000 + "]",
        "modules: [" + ",".join(["${A:-" + "b" * 90 + "}"] * 9_000) + "]",
    ]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.yaml").write_text(text)
    paths = sorted(str(path) for path in tmp_path.iterdir())
    run = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 200


def test_the_time_that_loading_takes_grows_with_the_number_of_apis_and_no_faster(tmp_path: Path) -> None:
    def took(count: int) -> float:
        lines = [
            "service_name: a",
            "bus: {redis: {url: 'redis://h:1/0'}}",
            "apis:",
            "  default: {rpc_timeout: 5s}",
        ]
        for i in range(count):
            lines += [
                f"  svc.api{i}:",
                f"    owner: s{i}",
                "    validate: {incoming: true}",
                f"    redis: {{url: 'redis://h{i % 7}:6379/0', tls: {{verify: true}}}}",
                "    event_transport: {redis: {stream_use: per_event, max_stream_length: 5000}}",
            ]
        (tmp_path / "m.yaml").write_text("\n".join(lines))
        started = time.process_time()
        load(["m.yaml"], environ={}, cwd=tmp_path)
        return time.process_time() - started

    assert min(took(200) for _ in range(2)) < 8 * min(took(50) for _ in range(3))
