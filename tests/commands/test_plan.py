"""``lightbus plan``: what it prints in each of its forms, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guide.project import Project
from tests.support.servers import Server
from tests.support.terminal import ESCAPES, on_terminal

BUS = """
    from lightbus import Api, Event

    print("imported")

    class ShopApi(Api):
        sold = Event(parameters=("sku",))

        class Meta:
            name = "shop"

    def on_sold(event_message, sku): ...
"""
MANIFEST = """
    service_name: shop
    apis: {{shop: {{owner: shop}}}}
    listeners: {{{name}: {{events: [shop.sold], handler: "bus:on_sold", concurrency: {concurrency}}}}}
"""
LEFT = "listener shop-old  left behind on shop.*:stream: 1 unread event; holds back trimming  DANGER"
HINT = "the same handler as shop-new: lightbus group move shop-old shop-new"


STREAM = "shop.*:stream"


def record(server: Server, **more: Any) -> dict[str, Any]:
    """What a host has noted of its service."""
    api: dict[str, Any] = {"owner": "shop", "address": f"127.0.0.1:{server.port}/0"}
    api |= {"stream_use": "per_api", "max_stream_length": 100_000}
    events, handler = [["shop", "sold"]], "bus:on_sold"
    listener = {"service": "shop", "name": "old", "events": events, "handler": handler, "attempts": 8}
    listeners = {"old": {**listener, "then": "dead_letter"}, **more}
    return {"service": "shop", "format_version": 1, "apis": {"shop": api}, "listeners": listeners}


@pytest.fixture
def shop(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """A project whose listener was called otherwise when it ran."""
    it = Project(tmp_path, redis_server.url)
    it.write("bus.py", BUS)
    redis_server.execute("SET", "lightbus:declared:shop", json.dumps(record(redis_server)))
    redis_server.execute("XGROUP", "CREATE", STREAM, "shop-old", "0", "MKSTREAM")
    redis_server.execute("XADD", STREAM, "*", "id", "1")
    it.write("lightbus.yaml", MANIFEST.format(name="new", concurrency=1))
    yield it
    it.close()


def test_a_program_that_reads_lines_gets_each_difference_in_one(shop: Project) -> None:
    done = shop.run("plan")
    left, made, summary = done.stdout.splitlines()
    assert done.returncode == 1 and "imported" in done.stderr and "\x1b" not in done.stdout
    assert left.startswith("lightbus.yaml:3:1  - listener shop-old  left behind on shop.*:stream: 1 unread")
    assert left.endswith(f"  DANGER  -> {HINT}")
    assert made.startswith("lightbus.yaml:3:13  + listener shop-new  made on shop.*:stream, since: new: ")
    assert summary == "shop: 2 changes, 1 of them dangerous"


def test_people_get_rows_that_fit_their_terminal_in_colour(shop: Project) -> None:
    code, output = on_terminal("plan", cwd=shop.folder, env=shop.env)
    lines = ESCAPES.sub("", output).splitlines()
    assert code == 1 and max(map(len, lines)) <= 80
    assert "\x1b[31m- listener shop-old\x1b[0m" in output and "\x1b[31m\x1b[1mDANGER" in output
    assert any(line.strip() == "lightbus.yaml:3:1" for line in lines)
    assert any(line.startswith("    -> the same handler as shop-new: ") for line in lines)
    code, output = on_terminal("plan", cwd=shop.folder, env={**shop.env, "NO_COLOR": "1"})
    assert code == 1 and "\x1b" not in output


def test_github_gets_annotations(shop: Project) -> None:
    done = shop.run("plan", "--format", "github")
    error, warning = done.stdout.splitlines()
    assert error.startswith("::error file=lightbus.yaml,line=3,col=1::- listener shop-old left behind on ")
    assert error.endswith(f" -> {HINT}")
    assert warning.startswith("::warning file=lightbus.yaml,line=3,col=13::+ listener shop-new made on ")


def test_a_comment_gets_a_table_in_which_no_text_means_anything_else(shop: Project) -> None:
    head, _, titles, rule, left, made = shop.run("plan", "--format", "markdown").stdout.splitlines()
    assert head == "**lightbus plan** for shop: 2 changes, 1 of them dangerous"
    assert (titles.count("|"), rule.count("|"), left.count("|"), made.count("|")) == (5, 5, 5, 5)
    assert left.startswith(r"| `-` | listener shop-old | **DANGER** left behind on shop.\*:stream: 1 unread ")
    assert left.endswith(f"<br>→ {HINT} | lightbus.yaml:3:1 |")


def test_the_exit_status_tells_dangers_from_changes_if_that_is_wanted(shop: Project) -> None:
    assert shop.run("plan", "--detailed-exitcode").returncode == 1
    shop.write("lightbus.yaml", MANIFEST.format(name="old", concurrency=2))
    assert shop.run("plan").returncode == 0
    changed = shop.run("plan", "--detailed-exitcode")
    assert (changed.returncode, changed.stdout.splitlines()[-1]) == (
        2,
        "shop: 1 change, none of them dangerous",
    )
    shop.write("lightbus.yaml", MANIFEST.format(name="old", concurrency=1))
    same = shop.run("plan", "--detailed-exitcode")
    assert (same.returncode, same.stdout) == (0, "shop: nothing changes\n")


def test_without_imports_what_code_declares_is_left_out(shop: Project, redis_server: Server) -> None:
    shop.write("lightbus.yaml", "service_name: shop\napis: {shop: {owner: shop}}\n")
    setting_up = "def before_server_start(bus): bus.shop.sold.listen(on_sold, listener_name='coded')"
    shop.write("bus.py", f"{BUS}\n    {setting_up}\n")
    coded = {"service": "shop", "name": "coded", "events": [["shop", "sold"]], "in_code": True}
    redis_server.execute("SET", "lightbus:declared:shop", json.dumps(record(redis_server, coded=coded)))
    redis_server.execute("XGROUP", "CREATE", STREAM, "shop-coded", "0")
    done = shop.run("plan")
    assert "shop-coded" not in done.stdout and "shop-old  left behind" in done.stdout
    assert "note: listeners that bus sets up at the start were not compared: coded" in done.stdout
    shop.write("bus.py", "1 / 0")
    done = shop.run("plan", "--no-imports")
    assert "shop-coded" not in done.stdout and done.stdout.count("note: ") == 1
    assert "no code was imported" in done.stdout
    done = shop.run("plan")
    assert done.returncode == 78 and "ZeroDivisionError" in done.stderr


def test_without_imports_a_service_needs_a_name(shop: Project) -> None:
    shop.write("lightbus.yaml", "{}\n")
    done = shop.run("plan", "--no-imports")
    assert done.returncode == 78 and "write service_name: NAME into it" in done.stderr
    assert json.loads(shop.run("plan", "--format", "json").stdout)["service"] == "shop"


def test_a_service_of_before_that_noted_nothing_is_told_of(shop: Project, redis_server: Server) -> None:
    redis_server.execute("DEL", "lightbus:declared:shop")
    done = shop.run("plan")
    assert "note: nobody has noted what shop declared" in done.stdout
    assert "listener shop-old  left behind" in done.stdout


def test_a_pause_is_no_change_and_is_told(shop: Project, redis_server: Server) -> None:
    shop.write("lightbus.yaml", MANIFEST.format(name="old", concurrency=1))
    pause, moved = {"since": 1.0, "by": "ann@box"}, {"since": 1.0, "moved_to": "shop-old"}
    redis_server.execute("HSET", "lightbus:paused:shop", "old", json.dumps(pause), "was", json.dumps(moved))
    done = shop.run("plan", "--detailed-exitcode")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "note: shop-old is paused since 1970-01-01 00:00:01 UTC by ann@box, and stays so when processes "
        "start; it goes on with lightbus resume shop-old",
        "shop: nothing changes",
    ]
