"""Each log line about a call or an event carries its id, also those that procedures and listeners write."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import Process, clean_environment

BUS = """
    import asyncio
    import contextvars
    import logging

    from lightbus import Api, Backoff, DeliveryPolicy, Event

    logger = logging.getLogger('shop')
    of_stock = []


    class ShopApi(Api):
        sold = Event(('sku',))

        class Meta:
            name = 'shop'

        def price(self, sku: str) -> int:
            logger.info('in a thread: %s', sku)
            return len(sku)

        async def stock(self, sku: str) -> int:
            await asyncio.gather(count('one'), count('two'))
            of_stock.append(contextvars.copy_context())
            return len(sku)

        async def tell_of_stock(self) -> None:
            of_stock[0].run(logger.info, 'long after')

        async def fail(self) -> None:
            raise KeyError('no such sku')


    async def count(what):
        logger.info('in a task: %s', what)


    def note(event_message, sku):
        logger.warning('in a listener: %s', sku)
        if sku == 'teapot':
            raise KeyError(sku)


    def before_server_start(bus):
        quick = DeliveryPolicy(attempts=2, backoff=Backoff(initial=0.01, jitter=False))
        bus.shop.sold.listen(note, on_error=quick)

        @bus.client.every(seconds=0.05)
        def tick():
            logger.info('of no message')
"""
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def host(project: Project) -> Process:
    project.write("bus.py", BUS)
    return project.host(LIGHTBUS__BUS__LOG_FORMAT="json")


def lines(host: Process, text: str) -> list[dict[str, Any]]:
    """The log lines that hold some text, once there is one."""
    found = [line for line in host.output().splitlines() if text in line and line.endswith("}")]
    assert found
    return [json.loads(line) for line in found]


@pytest.mark.parametrize(("procedure", "text"), [("price", "in a thread: cup"), ("stock", "in a task: ")])
def test_those_of_a_procedure_name_its_call(
    project: Project, host: Process, procedure: str, text: str
) -> None:
    for _ in range(2):
        project.call(f"shop.{procedure}", sku="cup")

    def ids_of_both() -> set[str]:
        ids = {line["message_id"] for line in lines(host, text)}
        assert len(ids) == 2
        return ids

    assert all(UUID.fullmatch(message_id) for message_id in eventually(ids_of_both))


def test_so_do_those_about_its_failure(project: Project, host: Process) -> None:
    with pytest.raises(Exception, match="no such sku"):
        project.call("shop.fail")
    (line,) = eventually(lambda: lines(host, "shop.fail (call"))
    assert f"shop.fail (call {line['message_id']}) raised:" == line["message"]
    assert "KeyError" in line["exception"]


def test_those_of_a_listener_name_its_event_with_each_attempt(project: Project, host: Process) -> None:
    message_id = project.fire("shop.sold", sku="teapot")
    eventually(lambda: lines(host, "dead letter"))
    for text, times in (
        ("in a listener: teapot", 2),
        ("raised on shop.sold", 2),
        ("put aside as a dead letter", 1),
    ):
        assert [line.get("message_id") for line in lines(host, text)] == [message_id] * times


def test_those_of_no_message_and_those_long_after_it_have_none(project: Project, host: Process) -> None:
    project.call("shop.stock", sku="cup")
    project.call("shop.tell_of_stock")
    for text in ("long after", "of no message", "ready: "):
        found = eventually(lambda text=text: lines(host, text))  # type: ignore[misc]
        assert all("message_id" not in line for line in found)


def test_as_text_they_show_it_once(project: Project) -> None:
    project.write("bus.py", BUS)
    host = project.host()
    message_id = project.fire("shop.sold", sku="teapot")
    eventually(lambda: "put aside as a dead letter" in host.output())
    of_it = [line for line in host.output().splitlines() if message_id in line]
    assert [line.count(message_id) for line in of_it] == [1] * len(of_it)
    assert of_it[0].endswith(f" warning  in a listener: teapot  [{message_id}]")
    assert f"raised on shop.sold (event {message_id}), attempt 1 of 2" in of_it[1]


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_on_a_terminal_they_are_in_colour_unless_no_color_is_set(
    project: Project, no_color: str, is_coloured: bool
) -> None:
    project.write("bus.py", BUS)
    env = {**project.env, "LIGHTBUS__BUS__REDIS__URL": "redis://127.0.0.1:1/0", "NO_COLOR": no_color}
    terminal, inside = pty.openpty()
    words = [sys.executable, "-m", "lightbus", "run", "--fail-fast"]
    done = subprocess.run(
        words, cwd=project.folder, env=clean_environment(env), stderr=inside, timeout=100, check=False
    )
    os.close(inside)
    with open(terminal, "rb", buffering=0) as seen:
        assert (b"\x1b[" in seen.read(65536)) is is_coloured
    assert done.returncode == 69
