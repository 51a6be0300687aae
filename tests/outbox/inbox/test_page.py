"""The code of the how-to of the inbox, in the projects that it speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.guide.project import Project

_PAGE = (DOCS / "how-to" / "inbox.md").read_text()
SETTINGS, IN_DJANGO, MODELS, IN_SQLALCHEMY = re.findall(r"^```python\n(.*?)^```$", _PAGE, re.DOTALL | re.M)

DJANGO_SETTINGS = """
SECRET_KEY = "only for tests"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["shop"]
"""
DJANGO_MODELS = """
from django.db import models

class Account(models.Model):
    name = models.CharField(max_length=20, primary_key=True)
    balance = models.IntegerField()
"""
BUS = """
import lightbus
from lightbus import Api, Event, Parameter

bus = lightbus.create()

class ShopApi(Api):
    sold = Event(parameters=(Parameter("customer", str), Parameter("amount", int)))
    charged = Event(parameters=(Parameter("customer", str),))

    class Meta:
        name = "shop"

bus.client.register_api(ShopApi())
"""
ALL_IN_DJANGO = """
import django
django.setup()
from django.core.management import call_command

call_command("migrate", "lightbus", verbosity=0)
call_command("migrate", run_syncdb=True, verbosity=0)
import shop.charging
from lightbus.django.models import OutboxEvent
from lightbus.testing import hosted
from shop.bus import bus
from shop.models import Account

Account.objects.create(name="ann", balance=10)
with hosted(bus, shop.charging) as host:
    for _ in range(2):
        bus.shop.sold.fire(customer="ann", amount=3, bus_options={"id": "one"})
    host.settle()
print(Account.objects.get().balance, OutboxEvent.objects.count())
"""
SQLALCHEMY_MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Account(Base):
    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int]

"""
DB = """
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

engine = create_engine("sqlite:///db.sqlite3", connect_args={"timeout": 20})
async_engine = create_async_engine("sqlite+aiosqlite:///db.sqlite3", connect_args={"timeout": 20})
Maker, AsyncMaker = sessionmaker(engine), async_sessionmaker(async_engine)
"""
ALL_IN_SQLALCHEMY = """
import asyncio

from lightbus.testing import hosted
from shop import charging
from shop.bus import bus
from shop.db import Maker, async_engine, engine
from shop.models import Account, Base

Base.metadata.create_all(engine)
with Maker.begin() as session:
    session.add(Account(name="ann", balance=10))

async def main():
    async with hosted(bus) as host:
        for _ in range(2):
            await bus.shop.sold.fire_async(customer="ann", amount=3, bus_options={"id": "one"})
        await host.settle_async()
    await async_engine.dispose()

bus.shop.sold.listen(charging.charge)
bus.shop.sold.listen(charging.charge_async)
asyncio.run(main())
with Maker() as session:
    print(session.get(Account, "ann").balance)
engine.dispose()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty folder, and no Redis: services are hosted in memory."""
    (tmp_path / "project").mkdir()
    it = Project(tmp_path / "project", None)
    yield it
    it.close()


def test_in_django(project: Project) -> None:
    for name, text in {
        "mysite/settings.py": DJANGO_SETTINGS + SETTINGS,
        "shop/models.py": DJANGO_MODELS,
        "shop/bus.py": BUS,
        "shop/charging.py": IN_DJANGO,
    }.items():
        project.write(name, text)
    assert project.script(ALL_IN_DJANGO, DJANGO_SETTINGS_MODULE="mysite.settings").split() == ["7", "1"]


def test_in_sqlalchemy(project: Project) -> None:
    for name, text in {
        "shop/models.py": SQLALCHEMY_MODELS + MODELS,
        "shop/db.py": DB,
        "shop/bus.py": BUS,
        "shop/charging.py": IN_SQLALCHEMY,
    }.items():
        project.write(name, text)
    assert project.script(ALL_IN_SQLALCHEMY).strip() == "4"
