"""The feature ``outbox`` of ``lightbus run``."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

SETTINGS = """
    SECRET_KEY = "only for tests"
    INSTALLED_APPS = ["lightbus.django"]
    DATABASES = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"},
        "orders": {"ENGINE": "django.db.backends.sqlite3", "NAME": "orders.sqlite3"},
    }
    """
BUS = """
    import lightbus
    from lightbus import Api, Event

    bus = lightbus.create()

    class ShopApi(Api):
        placed = Event(parameters=("number",))

        class Meta:
            name = "shop"

    def tell(event_message, number):
        print(f"order {number}", flush=True)

    bus.client.register_api(ShopApi())
    """
FIRE = """
    import sys

    import django

    django.setup()
    from django.core.management import call_command
    from django.db import transaction
    from lightbus.django import outbox

    from bus import bus

    for name in ("default", "orders"):
        call_command("migrate", database=name, verbosity=0)
        with transaction.atomic(using=name):
            outbox(bus, using=name).shop.placed.fire(number=name)
    """
MANIFEST = """
    service_name: shop
    django: settings
    modules: [bus]
    outbox: {django: %s, poll: 50ms}
    listeners: {tell: {events: [shop.placed], handler: "bus:tell", since: earliest}}
    """


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """A project with two databases of Django's, and an event in the outbox of each."""
    it = Project(tmp_path, redis_server.url)
    it.env["DJANGO_SETTINGS_MODULE"] = "settings"
    it.write("settings.py", SETTINGS)
    it.write("bus.py", BUS)
    it.write("lightbus.yaml", MANIFEST % "default")
    yield it
    it.close()


def test_a_host_relays_the_outboxes_that_its_manifest_names(project: Project) -> None:
    project.script(FIRE)
    port = free_port()
    project.write("lightbus.yaml", MANIFEST % "[default, orders]")
    host = project.host("--set", f"http.listen={port}")
    host.wait_for_line("order default")
    host.wait_for_line("order orders")

    def metrics() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    wanted = ['lightbus_outbox_relayed_total{database="django:orders",outcome="sent"} 1.0']
    for line in ("rows", "oldest_seconds", "failed"):
        wanted.append(f'lightbus_outbox_{line}{{database="django:default"}} 0.0')
    wanted.append('lightbus_outbox_is_leader{database="django:default",partition="0"}')
    # Each relay looks by itself, and now and then.
    eventually(lambda: all(line in told for told in (metrics(),) for line in wanted), what=str(wanted))
    assert host.terminate() == 0


def test_it_relays_only_what_is_named_and_only_as_the_feature_outbox(project: Project) -> None:
    project.script(FIRE)
    host = project.host("--skip", "outbox")
    assert host.terminate() == 0
    assert "order" not in host.output().replace("order {", "")
    host = project.host()
    host.wait_for_line("order default")
    assert host.terminate() == 0
    assert "order orders" not in host.output()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("outbox.django=nothing", "outbox.django: Django has no database 'nothing'; DATABASES has default"),
        ("django=false", "outbox.django: Django is not set up; write django: mysite.settings, too"),
        ("outbox.django=a b", "outbox.django: must be Django's name of a database, or a list of such"),
        ("outbox.partitions=13", "outbox.partitions: must be at most 12"),
    ],
)
def test_a_database_that_is_not_there_is_told_at_the_start(project: Project, setting: str, said: str) -> None:
    status, told = project.refused("--set", setting)
    assert status == 78
    assert said in told


def test_an_app_that_is_not_installed_is_told(project: Project) -> None:
    project.write("settings.py", SETTINGS.replace('"lightbus.django"', ""))
    status, told = project.refused()
    assert status == 78
    assert "'lightbus.django' is not among INSTALLED_APPS; add it" in told


ENGINE = """
    from sqlalchemy import MetaData, create_engine
    from lightbus.sqlalchemy import outbox_table

    engine = create_engine("sqlite:///db.sqlite3")
    metadata = MetaData()
    outbox_table(metadata)
    metadata.create_all(engine)
    """
FIRE_IT = """
    from sqlalchemy.orm import Session
    from lightbus.sqlalchemy import outbox

    from bus import bus
    from db import engine

    with Session(engine) as session, session.begin():
        outbox(bus, session).shop.placed.fire(number="one")
    """


def test_a_host_relays_the_outbox_of_an_engine(project: Project) -> None:
    project.write("db.py", ENGINE)
    text = MANIFEST.replace("django: settings", "").replace("django: %s", "sqlalchemy: 'db:engine'")
    project.write("lightbus.yaml", text)
    project.script(FIRE_IT)
    status, told = project.refused("--set", "outbox.sqlalchemy=db:metadata")
    assert status == 78
    assert "outbox.sqlalchemy: db:metadata is MetaData()" in told
    host = project.host()
    host.wait_for_line("order one")
    assert host.terminate() == 0
