"""Numbers that JSON by its standard does not have go everywhere that others go, as in Lightbus 1.x."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lightbus.testing import hosted
from tests.support.eventually import eventually

from . import lab
from .project import Project

BIG = 2**70
#: How often each is tried; the last one is a dead letter in between.
TRIED = Counter({f"inf {BIG}": 2, "nan 1": 2, f"-inf -{BIG}": 2})


def test_in_retries_dead_letters_searches_and_commands(project: Project) -> None:
    project.write("bus.py", Path(lab.__file__).read_text())
    host = project.host()
    for value, number in (("Infinity", BIG), ("NaN", 1), ("-Infinity", -BIG)):
        whole = f'{{"value": {value}, "number": {number}}}'
        done = project.run("fire", "lab.measured", "--json", whole)
        assert done.returncode == 0, done.stderr
    tried = project.folder / "tried"
    before = TRIED - Counter([f"-inf -{BIG}"])
    eventually(lambda: tried.exists() and Counter(tried.read_text().splitlines()) == before)
    (letter,) = eventually(lambda: lines(project, "dlq", "list", "--json"))
    assert letter["kwargs"] == {"value": -math.inf, "number": -BIG}
    shown = project.run("dlq", "show", letter["id"]).stdout
    assert f'{{"value": -Infinity, "number": {-BIG}}}' in shown
    assert project.run("dlq", "replay", "--all").returncode == 0
    eventually(lambda: Counter(tried.read_text().splitlines()) == TRIED)
    for search, found in (
        ("value=Infinity", ["inf"]),
        ("value>1", ["inf"]),
        ("value=NaN", ["nan"]),
        ("value!=NaN", ["-inf", "inf"]),
        (f"number={BIG}", ["inf"]),
        (f"number<=-{BIG}", ["-inf"]),
    ):
        events = lines(project, "inspect", "--api", "lab", "--json-path", search)
        assert [str(event["kwargs"]["value"]) for event in events] == found, search
    done = project.run("call", "lab.same", "--json", f'{{"value": NaN, "number": {BIG}}}')
    assert (done.returncode, done.stdout) == (0, f"[NaN, {BIG}]\n"), done.stderr
    done = project.run("call", "lab.same", "value=NaN", "number=1")
    assert done.returncode == 1 and "value" in done.stderr, "it may be a name, so it is a text there"
    assert host.terminate() == 0


def lines(project: Project, *command: str) -> list[dict[str, Any]]:
    """What a command prints, a JSON object in each line."""
    done = project.run(*command)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_in_the_memory_of_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with hosted(lab) as host:
        assert host.bus.lab.same(value=math.inf, number=BIG) == [math.inf, BIG]
        assert math.isnan(host.bus.lab.same(value=math.nan, number=-BIG)[0])
        for value, number in ((math.inf, BIG), (math.nan, 1), (-math.inf, -BIG)):
            host.bus.lab.measured.fire(value=value, number=number)
        host.settle()
        host.advance(1)
        assert Counter(Path("tried").read_text().splitlines()) == TRIED - Counter([f"-inf -{BIG}"])
        [letter] = host.dead_letters("note")
        assert letter.message.kwargs == {"value": -math.inf, "number": -BIG}
        assert math.isnan(host.events("lab.measured")[1].kwargs["value"])
