"""The page docs/how-to/plugins.md: what it shows is run as it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.docs.requirements import only, requirements
from tests.guide.project import Project

PAGE = Path(__file__).parents[2] / "docs/how-to/plugins.md"
BUS = """
    from lightbus import Api


    class AuthApi(Api):
        class Meta:
            name = 'auth'

        def greet(self, name: str) -> str:
            return f'Hello {name}'
"""


def write_plugin(write: Callable[[str, str], Any]) -> None:
    """Write the files of the page, each of whose blocks begins with a name, and what makes them a package."""
    files = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL))
    offered = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    lines = [f"{name} = {value}" for name, value in offered["lightbus_plugins"].items()]
    files["audit-1.0.dist-info/METADATA"] = "Metadata-Version: 2.1\nName: audit\nVersion: 1.0\n"
    files["audit-1.0.dist-info/entry_points.txt"] = "\n".join(["[lightbus_plugins]", *lines, ""])
    for name, text in files.items():
        write(name, text)


def test_the_plugin_of_the_page_works(project: Project) -> None:
    write_plugin(project.write)
    project.write("bus.py", BUS)
    host = project.host("--set", "plugins.audit.max_calls=1")
    assert "plugins: audit" in host.output()
    assert project.call("auth.greet", name="Ada") == "Hello Ada"
    done = project.run("call", "auth.greet", "name=Eve")
    assert "PermissionError('this process has served enough')" in done.stderr
    assert host.terminate() == 0
    lines = (project.folder / "calls.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["auth.greet done", "auth.greet failed"]


def test_so_does_its_test_with_what_the_page_says_to_install(project: Project, tmp_path: Path) -> None:
    write_plugin(project.write)
    (project.folder / "lightbus.yaml").unlink()
    path = only(requirements(PAGE), tmp_path / "hidden")
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_audit.py"]
    done = project.python(*command, PYTHONPATH=path)
    assert done.returncode == 0, done.stdout
