"""The code of the page of the console is run: as a part of an application of one's own, and of Django's."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lightbus.web.access.guard import Receive, Send
from tests.guide.project import Project
from tests.support.servers import Server
from tests.web.bus import shop

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "console.md"


@pytest.mark.parametrize(
    ("session", "status"), [({"user": "ann", "is_staff": True}, 200), ({"user": "bob"}, 403), ({}, 403)]
)
async def test_an_application_shows_the_console_to_its_own_staff(
    session: dict[str, object],
    status: int,
    redis_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "lightbus.yaml").write_text(f"bus: {{redis: {{url: '{redis_server.url}'}}}}\n")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await names["app"]({**scope, "session": session}, receive, send)

    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://shop.example") as visitor:
        answer = await visitor.get("/bus/")
    assert answer.status_code == status
    assert ("No process is on the bus" in answer.text) == (status == 200)


SETTINGS = """
    SECRET_KEY = "not kept from anybody"
    INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
    ROOT_URLCONF = "mysite.urls"
    ALLOWED_HOSTS = ["*"]
"""
VISITS = """
    import asyncio
    import logging

    import httpx2
    from mysite.asgi import application, bus

    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    OURS = {"Sec-Fetch-Site": "same-origin", "X-Lightbus-Console": "1"}


    def logged_in(name, **about):
        user, session = User.objects.create_user(name, **about), SessionStore()
        session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session.save()
        return {"Cookie": f"sessionid={session.session_key}"}


    async def visit(sessions):
        transport = httpx2.ASGITransport(app=application)
        async with httpx2.AsyncClient(transport=transport, base_url="https://shop.example") as browser:
            for who, session in sessions.items():
                page = await browser.get("/bus/", headers=session)
                links = [each.partition('"')[0] for each in page.text.split('href="')[1:]]
                beneath = all(link.startswith(("/bus/", "#")) for link in links)
                form = {"target": "shop-mailer"}
                sent = await browser.post("/bus/actions/pause", data=form, headers={**session, **OURS})
                print(who, page.status_code, beneath, sent.status_code, sent.headers.get("location", "")[:15])
            print((await browser.get("/busy/")).status_code, "is Django's")
        await bus.close_async()


    # It would tell of each refusal.
    logging.getLogger("lightbus.web").setLevel(logging.ERROR)
    call_command("migrate", verbosity=0)
    sessions = {
        "nobody": {},
        "customer": logged_in("bob"),
        "staff": logged_in("ann", is_staff=True),
        "operator": logged_in("eve", is_staff=True, is_superuser=True),
    }
    asyncio.run(visit(sessions))
"""


def test_django_shows_the_console_to_its_own_staff(tmp_path: Path, redis_server: Server) -> None:
    shop(redis_server)
    project = Project(tmp_path, redis_server.url)
    code = re.findall(r'^```python title="mysite/asgi.py"\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.M)
    project.write("lightbus.yaml", "web: {root_path: /bus, roles: {ops: [pause]}}\n")
    project.write("mysite/__init__.py", "")
    project.write("mysite/urls.py", "urlpatterns = []\n")
    project.write("mysite/settings.py", SETTINGS)
    project.write("mysite/asgi.py", code[0])
    assert project.script(VISITS).splitlines() == [
        "nobody 403 True 403 ",
        "customer 403 True 403 ",
        "staff 200 True 403 ",
        "operator 200 True 303 /bus/listeners/",
        "404 is Django's",
    ]
