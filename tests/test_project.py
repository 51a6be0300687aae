"""The project itself: its texts, forms and files for others lead somewhere and agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import lightbus

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Source"]
TEXTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
)
RELEASES = "docs/explanation/releases.md"
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)|^\[[^\]]+\]: (\S+)|<(https?://[^>]+)>", re.MULTILINE)


def links(name: str) -> list[str]:
    """The targets of the links of a text."""
    return [next(filter(None, found)) for found in LINK.findall((ROOT / name).read_text())]


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in links(name):
        ours = re.match(rf"{re.escape(REPOSITORY)}/(?:blob|tree)/master/([^#]+)", target)
        file = ROOT / ours[1] if ours else (ROOT / name).parent / target
        assert file.exists() or (not ours and target.startswith("https://")), f"{name}: {target}"


def test_links_of_the_readme_work_where_it_is_shown_without_the_repository() -> None:
    assert [target for target in links("README.md") if not target.startswith("https://")] == []


def commands(name: str) -> list[str]:
    """The indented lines of a text that are commands."""
    lines = re.findall(r"^(?: {4}| {8})(\S.*)$", (ROOT / name).read_text(), re.MULTILINE)
    return [line.split("  #")[0] for line in lines]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", RELEASES, "README.md"])
def test_commands_of_make_are_there(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = [line.split()[1] for line in commands(name) if line.startswith("make ")]
    assert told and set(told) <= targets


def test_what_is_cut_short_to_save_time_is_done_whole_by_make_soak() -> None:
    whole = (ROOT / "Makefile").read_text().partition("LIGHTBUS_TEST_WHOLE=1")[2].partition("\n\t@")[0]
    short = re.compile(r"^from .* import .*\bIS_WHOLE\b", re.MULTILINE)
    cut = {path for path in (ROOT / "tests").rglob("test_*.py") if short.search(path.read_text())}
    assert cut
    assert [path for path in sorted(cut) if str(path.relative_to(ROOT)) not in whole] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    named = re.findall(r"`([\w./-]+(?:/|\.\w+))`", (ROOT / name).read_text())
    assert named
    assert [each for each in named if "/" in each and not (ROOT / each).exists()] == []


def test_what_contributors_run_after_a_change_of_keys_changes_nothing_where_none_was_made(
    tmp_path: Path,
) -> None:
    (line,) = [
        line for line in commands("CONTRIBUTING.md") if line.startswith(".venv/bin/python -m lightbus")
    ]
    *command, folder = line.split()[1:]
    done = subprocess.run([sys.executable, *command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (ROOT / folder / file.name).read_bytes()


def test_the_version_is_said_twice_and_the_same() -> None:
    assert PROJECT["version"] == lightbus.__version__


def test_the_changelog_has_the_version() -> None:
    number = re.match(r"\d+\.\d+\.\d+", lightbus.__version__)
    assert number is not None
    assert re.search(rf"^## {re.escape(number[0])} \(", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def validate(schema: str, *files: Path) -> None:
    """See that files are right by a schema that the checker has itself."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_github_takes_the_workflow() -> None:
    validate("github-workflows", *(ROOT / ".github/workflows").glob("*.yml"))


def test_github_takes_the_forms_for_issues() -> None:
    folder = ROOT / ".github/ISSUE_TEMPLATE"
    validate("github-issue-config", folder / "config.yml")
    forms = [file for file in sorted(folder.glob("*.yml")) if file.name != "config.yml"]
    assert forms
    validate("github-issue-forms", *forms)


def test_ci_runs_what_ci_is_on_each_supported_python() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert any(".ci/run" in step.get("run", "") for step in job["steps"])
    versions = job["strategy"]["matrix"]["python"]
    supported = re.search(r"^SUPPORTED = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert supported is not None and supported[1].split() == versions
    classified = [c.rpartition(":: ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+", c)]
    assert classified == versions


def test_hooks_of_commits_are_tools_that_the_venv_has() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    needed = {re.split(r"[><=;\[ ]", line)[0] for line in PROJECT["optional-dependencies"]["dev"]}
    for hook in repository["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/") and program.removeprefix(".venv/bin/") in needed
