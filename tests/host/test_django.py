"""The key ``django``: bus modules find Django set up, and database connections that work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.requirements import hiding
from tests.guide.project import Project
from tests.support.servers import Server

SETTINGS = """
    SECRET_KEY = "only for tests"
    INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "shop"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
    """
APP = """
    from django.apps import AppConfig

    class ShopConfig(AppConfig):
        name = "shop"

        def ready(self):
            import shop.bus
    """
BUS = """
    import lightbus
    from django.contrib.auth.models import User
    from lightbus import Api, Event

    bus = lightbus.create()

    class OrdersApi(Api):
        placed = Event()

        class Meta:
            name = "orders"

        def model(self) -> str:
            return User.__name__
    """
MANIFEST = "service_name: shop\nmodules: [shop.bus]\ndjango: mysite.settings\n"


@pytest.fixture
def django(project: Project, redis_server: Server) -> Project:
    """A project whose app imports the bus module in ``ready()``, while Django is being set up."""
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    project.write("mysite/settings.py", SETTINGS)
    project.write("shop/apps.py", APP)
    project.write("shop/bus.py", BUS)
    project.write("lightbus.yaml", MANIFEST)
    return project


def test_bus_modules_use_models_at_their_top(django: Project) -> None:
    host = django.host()
    assert django.call("orders.model") == "User"
    assert host.terminate() == 0


@pytest.mark.parametrize(
    ("args", "env"),
    [
        ((), {"LIGHTBUS__DJANGO": "true", "DJANGO_SETTINGS_MODULE": "mysite.settings"}),
        (("--set", "django=mysite.settings"), {}),
        ((), {"LIGHTBUS__DJANGO": "mysite.wrong", "DJANGO_SETTINGS_MODULE": "mysite.settings"}),
    ],
    ids=["true, and the environment", "--set", "the environment wins"],
)
@pytest.mark.parametrize(
    "command",
    [("check", "--imports"), ("fire", "orders.placed"), ("shell", "-e", "print(bus)"), ("dumpschema",)],
    ids=lambda words: words[0],
)
def test_each_command_that_imports_bus_modules_sets_django_up(
    django: Project, command: tuple[str, ...], args: tuple[str, ...], env: dict[str, str]
) -> None:
    done = django.run(*command, *args, **env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_higher_layer_takes_it_back(django: Project) -> None:
    status, said = django.refused("--set", "django=false")
    assert status == 78
    assert "settings are not configured" in said


NAMED, RAISED = "django: mysite.settings", "mysite/settings.py:1: setting Django up raised "


@pytest.mark.parametrize(
    ("manifest", "file", "said"),
    [
        ("django: true", "", "lightbus.yaml:1:9  django: DJANGO_SETTINGS_MODULE is not set; set it, or"),
        ("django: mysite.setings", "", "there is no settings module 'mysite.setings' in "),
        (NAMED, "import nothing_here", f"{RAISED}ModuleNotFoundError"),
        (NAMED, "this is no Python", f"{RAISED}SyntaxError"),
        (NAMED, "INSTALLED_APPS = ['gone']", "setting Django up raised ModuleNotFoundError: No module named"),
        ("django: 5", "", "django: must be true, false or a settings module such as mysite.settings, not 5"),
        ("django: my site", "", "must be true, false or a settings module such as mysite.settings, not"),
    ],
)
def test_what_keeps_django_from_being_set_up_is_told(
    django: Project, manifest: str, file: str, said: str
) -> None:
    django.write("lightbus.yaml", manifest + "\nmodules: [shop.bus]\n")
    if file:
        django.write("mysite/settings.py", file)
    status, told = django.refused()
    assert status == 78
    assert said in told
    errors = [line for line in told.splitlines() if " info " not in line]
    assert len(errors) == 1, "the modules are not to be told of, too"
    assert django.run("check", "--imports").returncode == 78


def test_what_an_app_raises_when_it_is_ready_has_its_line(django: Project) -> None:
    django.write("shop/apps.py", APP.replace("import shop.bus", "raise ValueError('no shop')"))
    status, told = django.refused()
    assert status == 78
    assert f"{django.folder / 'shop/apps.py'}:7: setting Django up raised ValueError: no shop" in told


def test_without_django_it_says_what_to_install(django: Project, tmp_path: Path) -> None:
    hidden = hiding({"django"}, tmp_path / "hidden")
    done = django.run("check", "--imports", PYTHONPATH=hidden)
    assert done.returncode == 78
    assert "django: Django is not installed; run: pip install django" in done.stdout


def test_a_hosted_test_sets_it_up_as_well(django: Project) -> None:
    printed = django.script(
        """
        from lightbus.testing import hosted

        with hosted(config="lightbus.yaml") as host:
            print(host.bus.orders.model())
        """
    )
    assert printed == "User\n"


@pytest.mark.parametrize("kind", ["", "async "], ids=["in threads", "in coroutines"])
def test_a_broken_connection_is_replaced(django: Project, kind: str) -> None:
    django.write(
        "shop/bus.py",
        f"""
        from asgiref.sync import sync_to_async
        from django.db import connection
        from lightbus import Api

        def query():
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            connection.connection.close()  # as a database does that ends
            return True

        class OrdersApi(Api):
            class Meta:
                name = "orders"

            {kind}def query(self) -> bool:
                return {"await sync_to_async(query)()" if kind else "query()"}
        """,
    )
    django.host()
    assert [django.call("orders.query") for _ in range(3)] == [True] * 3


def test_messages_that_follow_each_other_in_a_thread_have_it_done_once(django: Project) -> None:
    django.write(
        "shop/bus.py",
        """
        from lightbus import Api
        from lightbus.worker import django as looked_after

        renewals = []
        renew = looked_after.renew

        def counted():
            renewals.append(True)
            renew()

        looked_after.renew = counted

        class OrdersApi(Api):
            class Meta:
                name = "orders"

            def count(self) -> int:
                return len(renewals)
        """,
    )
    django.host()
    django.script(
        """
        import asyncio, lightbus

        async def call():
            bus = lightbus.create()
            await asyncio.gather(*(bus.orders.count.call_async() for _ in range(200)))
            await bus.client.close_async()

        asyncio.run(call())
        """
    )
    assert 0 < django.call("orders.count") < 200


TUTORIAL = """
    import asyncio
    import os

    import django
    import lightbus
    from lightbus.utilities.django import uses_django_db

    bus = lightbus.create()

    def query():
        from django.db import connection
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.connection.close()  # as a database does that ends
        return True

    class OrdersApi(lightbus.Api):
        class Meta:
            name = "orders"

        @uses_django_db
        def query(self, times: int) -> bool:
            return query()

        @uses_django_db
        async def query_in_a_coroutine(self, times: int) -> bool:
            from asgiref.sync import sync_to_async
            return await sync_to_async(query)()

    bus.client.register_api(OrdersApi())

    @bus.client.on_start()
    def on_start(**kwargs):
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
        django.setup()
    """


def test_the_decorator_of_1x_replaces_broken_connections_without_the_manifest(django: Project) -> None:
    django.write(
        "mysite/settings.py", SETTINGS.replace('"django.contrib.auth", "django.contrib.contenttypes", ', "")
    )
    django.write("shop/bus.py", TUTORIAL)
    django.write("shop/apps.py", APP.replace("import shop.bus", "pass"))
    django.write("lightbus.yaml", "service_name: shop\nmodules: [shop.bus]\n")
    django.host()
    for procedure in ("orders.query", "orders.query_in_a_coroutine"):
        assert [django.call(procedure, times=3) for _ in range(3)] == [True] * 3
