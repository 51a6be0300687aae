"""What type checkers say of right and wrong uses of typed clients: one run of each, over all of them."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from lightbus.contracts.clients.hints import Form
from lightbus.contracts.clients.module import module_of
from tests.conftest import missing
from tests.outbox import uses as outboxes

from . import methods
from .apis import contracts
from .uses import RIGHT, WRONG, functions, module_with

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/how-to/typed-clients.md"
FORMS: tuple[Form, ...] = get_args(Form)
#: Uses of one kind, by name: the right ones, the wrong ones, and what comes before them in a module.
KINDS = {
    "methods": (methods.RIGHT, methods.WRONG, methods.HEAD),
    "outboxes": (outboxes.RIGHT, outboxes.WRONG, outboxes.HEAD),
}
#: Errors by file and line.
Errors = dict[str, dict[int, str]]


def mypy(folder: Path) -> Errors:
    config = ROOT / "pyproject.toml"
    files = sorted(path.name for path in folder.glob("*.py"))
    options = [
        "--strict",
        f"--config-file={config}",
        f"--cache-dir={ROOT / '.mypy_cache'}",
        "--no-error-summary",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *files],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors: Errors = {}
    for line in done.stdout.splitlines():
        file, number, text = line.split(":", 2)
        if " error:" in f" {text}":
            errors.setdefault(file, {})[int(number)] = text
    return errors


def pyright(folder: Path) -> Errors:
    if find_pyright() is None:
        missing("no basedpyright: pip install -e '.[dev]'")
    options = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": ["."],
        "extraPaths": [str(ROOT)],
    }
    # What the uses themselves do not need.
    unused = [f"reportUnused{what}" for what in ("Coroutine", "Expression", "Import", "Variable")]
    (folder / "pyrightconfig.json").write_text(json.dumps({**options, **dict.fromkeys(unused, "none")}))
    done = subprocess.run(
        [str(find_pyright()), "--outputjson", "--pythonpath", sys.executable, "-p", "."],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors: Errors = {}
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            lines = errors.setdefault(Path(each["file"]).name, {})
            lines[each["range"]["start"]["line"] + 1] = each["message"]
    return errors


def find_pyright() -> Path | None:
    """The program, which brings its own Node."""
    program = Path(sys.executable).with_name("basedpyright")
    return program if program.exists() else None


def of_page() -> dict[str, str]:
    """The code of the page about typed clients, by the names that it gets here."""
    codes = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return dict(zip(("page_module.py", "page_method.py"), codes, strict=True))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Errors]:
    """The errors that a checker finds in all modules at once."""
    folder = tmp_path_factory.mktemp("uses")
    for form in FORMS:
        (folder / f"types_{form}.py").write_text(module_of(contracts(), form))
        for name, table in (("right", RIGHT), ("wrong", WRONG)):
            uses = [use for use, forms in table if form in forms]
            (folder / f"{name}_{form}.py").write_text(module_with(uses, form)[0])
    for kind, (right, wrong, head) in KINDS.items():
        for name, uses in (("right", right), ("wrong", wrong)):
            (folder / f"{name}_{kind}.py").write_text(functions(uses, "BusPath", head)[0])
    (folder / "shop").mkdir()
    (folder / "shop" / "bus_types.py").write_text(module_of(contracts()))
    (folder / "auth").mkdir()
    (folder / "auth" / "api.py").write_text(methods.HEAD)
    for name, code in of_page().items():
        (folder / name).write_text(code)
    return functools.cache(lambda checker: {"mypy": mypy, "pyright": pyright}[checker](folder))


def test_the_table_is_as_large_as_promised() -> None:
    for form in FORMS:
        assert sum(form in forms for _, forms in RIGHT) >= 40
        assert sum(form in forms for _, forms in WRONG) >= 40


# The first to ask for a checker waits for it: one that has not looked at Lightbus yet takes half a minute of
# a processor for that, which a busy machine may not have in the time of a test.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
class TestChecker:
    def test_finds_nothing_in_the_module_itself(
        self, found: Callable[[str], Errors], checker: str, form: Form
    ) -> None:
        assert found(checker).get(f"types_{form}.py", {}) == {}

    def test_accepts_each_right_use(self, found: Callable[[str], Errors], checker: str, form: Form) -> None:
        assert found(checker).get(f"right_{form}.py", {}) == {}

    def test_refuses_each_wrong_use(self, found: Callable[[str], Errors], checker: str, form: Form) -> None:
        uses = [use for use, forms in WRONG if form in forms]
        _, places = module_with(uses, form)
        lines = set(found(checker).get(f"wrong_{form}.py", {}))
        assert [use for use, place in zip(uses, places, strict=True) if lines.isdisjoint(place)] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_methods_of_a_class_and_outboxes_are_told_apart_too(
    found: Callable[[str], Errors], checker: str, kind: str
) -> None:
    _, wrong, head = KINDS[kind]
    assert found(checker).get(f"right_{kind}.py", {}) == {}
    _, places = functions(wrong, "BusPath", head)
    lines = set(found(checker).get(f"wrong_{kind}.py", {}))
    assert [use for use, place in zip(wrong, places, strict=True) if lines.isdisjoint(place)] == []


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_page_shows_what_a_checker_says(found: Callable[[str], Errors], checker: str) -> None:
    for name, code in of_page().items():
        wrong = {n for n, line in enumerate(code.splitlines(), 1) if "# error" in line}
        assert set(found(checker).get(name, {})) == wrong
