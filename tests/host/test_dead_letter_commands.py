"""``lightbus dlq``: list, show, replay and drop, as an administrator uses them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import clean_environment
from tests.support.servers import Server
from tests.support.terminal import ESCAPES, on_terminal

MODULE = """
    from pathlib import Path

    from lightbus import Api, DeliveryPolicy, Event, OnError

    class AuthApi(Api):
        user_registered = Event(parameters=("username",))

        class Meta:
            name = "auth"

    def note(text):
        with open("handled", "a") as file:
            print(text, file=file)

    def mailer(event_message, username):
        if not Path("mended").exists():
            raise ValueError(f"no mail for {username}")
        note(f"mailed {username}")

    def audit(event_message, username):
        note(f"noted {username}")

    def before_server_start(bus):
        once = DeliveryPolicy(attempts=1)
        bus.auth.user_registered.listen(mailer, on_error=once)
        bus.auth.user_registered.listen(audit, on_error=once)
"""


@pytest.fixture
def shop(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """A project that has failed to mail to two users."""
    project = Project(tmp_path, redis_server.url)
    project.write("bus.py", MODULE)
    project.write("lightbus.yaml", "service_name: shop\n")
    project.host()
    for username in ("ann", "bob"):
        assert project.run("fire", "auth.user_registered", f"username={username}").returncode == 0
    eventually(lambda: len(listed(project)) == 2)
    yield project
    project.close()


def listed(project: Project, *options: str) -> list[dict[str, Any]]:
    done = project.run("dlq", "list", "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_dead_letters_are_listed_shown_replayed_and_dropped(shop: Project) -> None:
    ann, bob = listed(shop)
    assert (ann["event"], ann["group"], ann["reason"]) == ("auth.user_registered", "shop-mailer", "failed")
    lines = shop.run("dlq", "list", "--listener", "mailer").stdout.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["id", "put aside", "event", "listener", "reason", "error"]
    assert "ValueError('no mail for ann')" in lines[1] and lines[-1] == "2 dead letters"
    assert listed(shop, "--listener", "audit") == listed(shop, "--older-than", "1h") == []
    assert listed(shop, "--api", "auth", "--reason", "failed", "--newer-than", "1h") == [ann, bob]
    shown = shop.run("dlq", "show", ann["id"]).stdout
    assert '{"username": "ann"}' in shown and "Traceback" in shown and "bob" not in shown
    assert shop.run("dlq", "show", "1-1").returncode == 1
    assert listed(shop, "--event", "auth.other") == listed(shop, "--error", "KeyError") == []
    assert listed(shop, "--event", "auth.user_registered", "--error", "ValueError") == [ann, bob]

    assert shop.run("dlq", "replay").returncode == 64
    for words in ("replay", "--api", "nope", "--dry-run"), ("drop", "--older-than", "1h", "--yes"):
        done = shop.run("dlq", *words)
        would = "would be replayed" if "--dry-run" in words else "was dropped"
        assert (done.returncode, done.stdout) == (0, f"no dead letter fits; nothing {would}\n")
    misspelt = shop.run("dlq", "list", "--reason", "fialed")
    assert misspelt.returncode == 64 and "'failed', 'invalid'" in misspelt.stderr
    tried = shop.run("dlq", "replay", "--all", "--dry-run").stdout
    assert tried.count("would be replayed: ") == 2 and len(listed(shop)) == 2

    shop.write("mended", "")
    done = shop.run("dlq", "replay", ann["event_id"])
    assert (done.returncode, done.stdout.count("replayed: ")) == (0, 1)
    assert listed(shop) == [bob]
    assert shop.run("dlq", "drop", "--listener", "shop-mailer", "--yes").stdout.startswith("dropped: ")
    assert shop.run("dlq", "list").stdout == "0 dead letters\n"


def test_a_replayed_event_is_handled_and_only_by_the_listener_that_failed(shop: Project) -> None:
    shop.write("mended", "")
    handled = shop.folder / "handled"
    assert shop.run("dlq", "replay", "--all").returncode == 0
    eventually(lambda: len(handled.read_text().splitlines()) == 4)
    lines = handled.read_text().splitlines()
    assert sorted(lines) == ["mailed ann", "mailed bob", "noted ann", "noted bob"]
    assert listed(shop) == []


def test_an_edited_event_is_handled_as_it_is_now_if_it_fits_the_contract(shop: Project) -> None:
    ann, bob = listed(shop)
    for given, told in (
        ("{}", "username"),
        ("[1]", "the arguments must be an object"),
        ("{", "that is no JSON"),
        ('{"username": "eve", "username": "ann"}', "'username' stands twice"),
        (None, "there is no terminal"),
    ):
        words = () if given is None else ("--kwargs", given)
        done = shop.run("dlq", "edit", ann["id"], *words)
        assert done.returncode in (1, 64) and told in done.stderr, done
    assert listed(shop) == [ann, bob]
    shop.write("mended", "")
    done = shop.run("dlq", "edit", ann["event_id"], "--kwargs", '{"username": "eve"}', "--because", "a typo")
    assert (done.returncode, done.stdout.startswith("edited and replayed: ")) == (0, True), done.stderr
    handled = shop.folder / "handled"
    eventually(lambda: len(handled.read_text().splitlines()) == 3)
    assert sorted(handled.read_text().splitlines()) == ["mailed eve", "noted ann", "noted bob"]
    assert listed(shop) == [bob]
    audit = shop.run("audit", "--json").stdout
    assert '"dlq.edit"' in audit and "a typo" in audit and '"eve"' not in audit


def asked(project: Project, answer: str, *words: str) -> tuple[int, str]:
    """The status and the output of a command on a terminal, where somebody answers."""
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "lightbus", "dlq", *words]
    with subprocess.Popen(
        command, cwd=project.folder, env=clean_environment(project.env), stdin=inside, stdout=-1, stderr=-2
    ) as process:
        os.write(terminal, answer.encode())
        output = process.communicate(timeout=60)[0].decode()
    os.close(inside)
    os.close(terminal)
    return process.returncode, output


@pytest.mark.parametrize("words", [("--all",), ("--listener", "mailer"), ("--newer-than", "1h")])
def test_what_is_not_named_by_its_id_is_dropped_only_by_who_says_so(
    shop: Project, words: tuple[str, ...]
) -> None:
    refused = shop.run("dlq", "drop", *words)
    assert refused.returncode == 64 and "add --yes" in refused.stderr and refused.stdout == ""
    status, output = asked(shop, "n\n", "drop", *words)
    assert status == 1 and "Drop 2 dead letters for good? [y/N]" in output
    assert output.endswith("Error: nothing was dropped\n")
    assert len(listed(shop)) == 2
    status, output = asked(shop, "y\n", "drop", *words)
    assert status == 0 and output.count("dropped: ") == 2
    assert listed(shop) == []


def test_on_a_terminal_the_list_has_titles_and_says_how_long_ago_it_was(shop: Project) -> None:
    code, output = on_terminal("dlq", "list", cwd=shop.folder, env=shop.env)
    titles, *letters, count = ESCAPES.sub("", output).splitlines()
    assert code == 0 and titles.split()[:3] == ["id", "put", "aside"] and count == "2 dead letters"
    assert len(letters) == 2 and all(len(line) <= 80 for line in letters)
    assert all(re.search(r" (just now|\d+ s ago) ", line) for line in letters)
    shown = shop.run("dlq", "show", listed(shop)[0]["id"]).stdout
    assert re.search(r"^died_at +\d{4}-\S+ \((just now|\d+ s ago)\)$", shown, re.MULTILINE)


def test_a_letter_that_is_named_by_its_id_is_dropped_at_once(shop: Project) -> None:
    ann, bob = listed(shop)
    assert shop.run("dlq", "drop", ann["id"]).stdout.startswith("dropped: ")
    assert shop.run("dlq", "drop", bob["event_id"]).stdout.startswith("dropped: ")
    assert shop.run("dlq", "drop", "--all", "--yes").stdout == "no dead letter fits; nothing was dropped\n"


def test_where_one_redis_is_away_the_letters_of_the_others_are_met_and_it_is_named(shop: Project) -> None:
    apis = "apis: {auth: {}, gone: {redis: {url: 'redis://127.0.0.1:1/0'}}}"
    shop.write("lightbus.yaml", f"service_name: shop\n{apis}\n")
    # The list has a line of titles.
    for words, count in (("list",), 3), (("drop", "--all", "--yes"), 2), (("list",), 0):
        done = shop.run("dlq", *words)
        assert (done.returncode, len(done.stdout.splitlines())) == (69, count)
        assert done.stderr.startswith("TransportUnavailable: Redis at 127.0.0.1:1/0 can't be reached")
