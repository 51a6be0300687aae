"""Flask, Django and FastAPI for real: the projects of their pages, started as the pages say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.patient import ENVIRONMENT
from tests.support.servers import Server

from .sites import Site

AWAY = {"error": "try again in a moment"}


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, redis_server: Server) -> Iterator[Site]:
    with Site(request.param, tmp_path, redis_server.url, env=ENVIRONMENT) as it:
        it.make()
        yield it


@pytest.mark.parametrize("site", ["how-to/flask.md", "how-to/fastapi.md"], indirect=True)
def test_a_login_and_a_registration(site: Site) -> None:
    site.serve(f"{site.server} --port {{port}}")
    right, wrong = {"username": "admin", "password": "secret"}, {"username": "admin", "password": "no"}
    assert site.post("/login", **right) == (503, AWAY)
    host = site.host()
    assert eventually(lambda: site.post("/login", **right)[0] == 200)
    assert site.post("/login", **wrong)[0] == 401
    for _ in range(2):
        assert site.post("/register", username="ada") == (201, {"event": "registered-ada"})
    host.wait_for_line("Welcome, ada")
    assert host.terminate() == 0
    assert host.output().count("Welcome, ada") == 1


@pytest.mark.parametrize("site", ["how-to/django.md"], indirect=True)
def test_django_as_startproject_makes_it_with_its_models_on_both_sides(site: Site) -> None:
    host = site.host()
    site.serve(f"{site.server} {{port}} --noreload")
    for _ in range(2):
        assert site.post("/orders", number="1", customer="Ann") == (201, {"order": "1"})
    host.wait_for_line("Order 1: thank you, Ann")
    assert eventually(lambda: site.get("/orders/1") == (200, {"is_mailed": True}))
    assert host.terminate() == 0
    assert host.output().count("thank you, Ann") == 1
    assert site.get("/orders/1") == (503, AWAY)


@pytest.mark.parametrize("site", ["how-to/django.md"], indirect=True)
def test_the_test_of_the_page_of_django_passes_as_often_as_it_is_run(site: Site) -> None:
    for _ in range(2):
        assert "Ran 1 test" in site.do("python manage.py test").stderr
