"""The code of the how-to of the outbox, in the projects that it speaks of."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.guide.project import Project
from tests.support.servers import free_port

_BLOCKS = re.findall(r"^```python\n(.*?)^```$", (DOCS / "how-to" / "outbox.md").read_text(), re.DOTALL | re.M)
SETTINGS, IN_DJANGO, IN_ASYNC_VIEW, MODELS, IN_SQLALCHEMY = _BLOCKS

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

class ShopApi(Api):
    placed = Event(parameters=(Parameter("order_id", int),))

    class Meta:
        name = "shop"

bus.client.register_api(OrdersApi())
bus.client.register_api(ShopApi())
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
BASE = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)

"""
SESSIONS = """
import asyncio

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from shop.bus import bus
from shop.models import Base, Order

engine = create_engine("sqlite:///db.sqlite3")
Base.metadata.create_all(engine)
Session = sessionmaker(engine)
async_engine = create_async_engine("sqlite+aiosqlite:///db.sqlite3")
AsyncSession = async_sessionmaker(async_engine)

{sync}
async def main():
{rest}
    await async_engine.dispose()

asyncio.run(main())
engine.dispose()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty folder, and no Redis: whoever writes into an outbox needs none."""
    (tmp_path / "project").mkdir()
    it = Project(tmp_path / "project", f"redis://127.0.0.1:{free_port()}/0")
    yield it
    it.close()


def written(folder: Path) -> list[tuple[str, str]]:
    """What is in the outbox, and from which event."""
    with sqlite3.connect(folder / "db.sqlite3") as link:
        rows = link.execute("SELECT api || '.' || event, kwargs FROM lightbus_outbox ORDER BY seq").fetchall()
    link.close()
    return rows


def test_in_django(project: Project) -> None:
    for name, text in {
        "mysite/settings.py": DJANGO_SETTINGS + SETTINGS,
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
    assert [name for name, _ in written(project.folder)] == ["orders.placed"] * 2


def test_in_sqlalchemy(project: Project) -> None:
    sync, rest = IN_SQLALCHEMY.split("\n\nasync ", 1)
    indented = "\n".join(f"    {line}" for line in f"async {rest}".splitlines())
    project.write("shop/bus.py", BUS)
    project.write("shop/models.py", BASE + MODELS)
    project.write("place.py", SESSIONS.format(sync=sync, rest=indented))
    done = project.python("place.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert written(project.folder) == [("shop.placed", '{"order_id":7}')] * 2
