"""The code of the how-to of the outbox, in the projects that it speaks of."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from tests.docs.pages import DOCS, steps
from tests.guide.project import Project
from tests.support.servers import free_port

_PAGE = DOCS / "how-to" / "outbox.md"
_FILES = {step.file: step.text for step in steps(_PAGE) if step.file}
_BLOCKS = re.findall(r"^```python\n(?!# \w+[/.])(.*?)^```$", _PAGE.read_text(), re.DOTALL | re.M)
IN_DJANGO, IN_ASYNC_VIEW, IN_ASYNC_SESSION = _BLOCKS

DJANGO_SETTINGS = """
SECRET_KEY = "only for tests"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["mysite"]
"""
DJANGO_MODELS = """
from django.db import models

class Order(models.Model):
    customer = models.TextField()

    class Meta:
        app_label = "mysite"
"""
BUS = """
import lightbus
from lightbus import Api, Event, Parameter

bus = lightbus.create()

class OrdersApi(Api):
    placed = Event(parameters=(Parameter("number", int), Parameter("customer", str)))

    class Meta:
        name = "orders"

bus.client.register_api(OrdersApi())
"""
MANAGE = """
import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""
VIEW = """
import asyncio

from asgiref.sync import sync_to_async

def place_order(customer):
    with transaction.atomic():
        order = Order.objects.create(customer=customer)
        outbox(bus).orders.placed.fire(number=order.pk, customer=customer)

async def view():
    {block}
asyncio.run(view())
"""
SESSIONS = """
import asyncio

from lightbus.sqlalchemy import outbox
from shop.bus import bus
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine("sqlite+aiosqlite:///shop.sqlite3")
AsyncSession = async_sessionmaker(engine)

async def main():
{block}
    await engine.dispose()

asyncio.run(main())
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty folder, and no Redis: whoever writes into an outbox needs none."""
    (tmp_path / "project").mkdir()
    it = Project(tmp_path / "project", f"redis://127.0.0.1:{free_port()}/0")
    yield it
    it.close()


def written(database: Path) -> list[tuple[str, str]]:
    """What is in the outbox, and from which event."""
    with sqlite3.connect(database) as link:
        rows = link.execute("SELECT api || '.' || event, kwargs FROM lightbus_outbox ORDER BY seq").fetchall()
    link.close()
    return rows


def test_in_django(project: Project) -> None:
    for name, text in {
        "mysite/settings.py": DJANGO_SETTINGS + _FILES["mysite/settings.py"],
        "mysite/models.py": DJANGO_MODELS,
        "mysite/bus.py": BUS,
        "mysite/place.py": IN_DJANGO + VIEW.format(block=IN_ASYNC_VIEW.strip()),
        "manage.py": MANAGE,
    }.items():
        project.write(name, text)
    for words in (
        ["migrate", "lightbus"],
        ["migrate", "--run-syncdb"],
        ["shell", "-c", "import mysite.place"],
    ):
        done = project.python("manage.py", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name, _ in written(project.folder / "db.sqlite3")] == ["orders.placed"] * 2


def test_in_sqlalchemy(project: Project) -> None:
    for name, text in _FILES.items():
        if not name.startswith("mysite"):
            project.write(name, text)
    project.write("later.py", SESSIONS.format(block=indent(IN_ASYNC_SESSION, "    ")))
    for words in (["place.py"], ["later.py"], ["-m", "lightbus", "check"]):
        done = project.python(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    rows = written(project.folder / "shop.sqlite3")
    assert rows == [("shop.placed", f'{{"order_id":{number}}}') for number in (1, 7)]
