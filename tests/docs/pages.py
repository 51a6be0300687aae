"""The code of a page of the docs, section by section, to be run as it is written.

A block that begins with three backticks and ``python run`` is run; all those of one section (below a heading
of level two) make one file. A block whose first line is ``# name.py`` (or ``# name.yaml``, in YAML) is that
file instead, and is there for the sections that follow too; ``# name.py, at its end`` adds to the file that
is there. A file with functions named ``test_...`` is run by pytest, any other by Python. What it prints must
be the section's block of ``text output``, where there is one. Lines that begin with four spaces are commands.

It is run with what the page's ``pip install`` lines bring, and nothing else; see :mod:`.requirements`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import clean_environment

DOCS = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(r"^```(python run|text output|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_STEP = re.compile(r"^```([\w ]*)\n(.*?)^```$|^    (\S[^\n]*)$", re.DOTALL | re.MULTILINE)
#: In YAML that is no manifest, or is tested with the file or the plugin that it belongs to.
_NOT_HERE = (
    "livenessProbe:",
    "scrape_configs:",
    "# compose.yaml",
    "# production.yaml",
    "${file:secrets/",
    "yaml-language-server:",
    "--8<--",
    "audit:",
)
_NAMED = re.compile(r"# ([\w/]+\.(?:py|yaml))(, at its end)?\n")


@dataclass(slots=True)
class Section:
    """One section of a page.

    Args:
        page: The page's path below ``docs``.
        title: The section's heading.
        code: Its blocks that name no file, one after the other.
        output: What they print, where the page says so.
        files: The files that this section and those before it name.
    """

    page: str
    title: str
    code: str = ""
    output: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    def run(
        self, folder: Path, env: Mapping[str, str], python: str | Path = sys.executable
    ) -> subprocess.CompletedProcess[str]:
        """Write its files into a folder and run its code there; warnings are errors."""
        name = (
            "test_section.py" if re.search(r"^(async )?def test_", self.code, re.MULTILINE) else "section.py"
        )
        for each, text in {**self.files, name: self.code}.items():
            path = folder / each
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        program = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if name.startswith("test_") else []
        return subprocess.run(
            [python, "-W", "error", *program, name],
            cwd=folder,
            env=clean_environment({"PYTHONPATH": str(folder), **env}),
            capture_output=True,
            text=True,
            timeout=110,
            stdin=subprocess.DEVNULL,
        )


def sections(path: Path, root: Path = DOCS) -> list[Section]:
    """The sections of a page that have code to run."""
    found: list[Section] = []
    files: dict[str, str] = {}
    for text in re.split(r"^(?=## )", path.read_text(), flags=re.MULTILINE):
        heading = text.partition("\n")[0].lstrip("# ")
        section = Section(str(path.relative_to(root)), heading)
        for kind, code in _BLOCK.findall(text):
            named = _NAMED.match(code)
            if kind == "text output":
                section.output = (section.output or "") + code
            elif named is not None:
                files[named[1]] = code
            elif kind == "python run":
                section.code += code
        section.files = dict(files)
        if section.code:
            found.append(section)
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """What a reader of a page does next: write a file, or give a command.

    Args:
        command: The command; empty where a file is to be written.
        file: The file's name.
        text: What is to stand there.
        adds: Whether that is added to what is there.
    """

    command: str = ""
    file: str = ""
    text: str = ""
    adds: bool = False


def steps(path: Path) -> list[Step]:
    """Everything that a page tells its reader to do, in its order."""
    found = []
    for _, code, command in _STEP.findall(path.read_text()):
        named = _NAMED.match(code)
        if command:
            found.append(Step(command))
        elif named is not None:
            found.append(Step(file=named[1], text=code, adds=bool(named[2])))
    return found


def manifests() -> list[Any]:
    """The manifests that the docs show, each as a parameter with the name of its page."""
    found = []
    for page in sorted(DOCS.rglob("*.md")):
        for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            if not any(word in text for word in _NOT_HERE):
                found.append(pytest.param(text, id=str(page.relative_to(DOCS))))
    return found
