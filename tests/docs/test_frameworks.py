"""Flask, Django and FastAPI for real: the projects of their pages, started as the pages say."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server, free_port

from .pages import DOCS, sections


class Site:
    """The project of one page: a web server and a host."""

    def __init__(self, page: str, project: Project) -> None:
        (section,) = sections(DOCS / page)
        for name, text in section.files.items():
            project.write(name, text)
        self.project = project
        self.port = free_port()
        words = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(), flags=re.DOTALL | re.MULTILINE)
        self.commands = [
            line.strip().replace("django-admin", "django").split()
            for line in words.splitlines()
            if line.startswith("    ")
        ]

    def serve(self, *more: str) -> Process:
        """Start the web server with the page's last command."""
        folder = str(self.project.folder)
        process = self.project.program("-m", *self.commands[-1], *more, PYTHONPATH=folder)
        eventually(lambda: self.post("/nothing")[0] == 404, 30)
        return process

    def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """POST JSON; returns status and answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as e:
            with e:
                text = e.read()
                return e.code, json.loads(text) if text.startswith(b"{") else text
        except urllib.error.URLError:
            return 0, None


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    it = Project(tmp_path, redis_server.url)
    yield it
    it.close()


@pytest.mark.parametrize(
    ("page", "port_option"), [("how-to/flask.md", "--port"), ("how-to/fastapi.md", "--port")]
)
def test_a_login_and_a_registration(project: Project, page: str, port_option: str) -> None:
    site = Site(page, project)
    site.serve(port_option, str(site.port))
    right, wrong = {"username": "admin", "password": "secret"}, {"username": "admin", "password": "no"}
    assert site.post("/login", **right) == (503, {"error": "try again in a moment"})
    host = project.host()
    assert eventually(lambda: site.post("/login", **right)[0] == 200)
    assert site.post("/login", **wrong)[0] == 401
    path = "/register?username=ada" if "fastapi" in page else "/register"
    status, answer = site.post(path, username="ada")
    assert (status, list(answer)) == (201, ["event"])
    host.wait_for_line("Welcome, ada")


def test_django_with_its_models_on_both_sides(project: Project) -> None:
    site = Site("how-to/django.md", project)
    done = project.python("-m", *site.commands[0], PYTHONPATH=str(project.folder))
    assert done.returncode == 0, done.stderr
    host = project.host()
    site.serve(f"127.0.0.1:{site.port}", "--noreload")
    assert site.post("/register", username="ada") == (201, {"welcome": "ada"})
    host.wait_for_line("Welcome, ada, user number 1")
    assert site.post("/register", username="ada") == (409, {"error": "taken"})
    assert host.terminate() == 0
