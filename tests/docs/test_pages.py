"""Every block of the docs that is marked as code to run does what its page says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from lightbus.manifest.load import load
from tests.support.patient import ENVIRONMENT
from tests.support.servers import Server

from .pages import DOCS, Section, manifests, sections
from .requirements import extras, only, requirements

SECTIONS = [section for page in sorted(DOCS.rglob("*.md")) for section in sections(page)]


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """For a page, the folder that hides all packages but those that it names."""
    folder = tmp_path_factory.mktemp("hidden")
    return cache(lambda page: only(requirements(DOCS / page), folder / page))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: f"{s.page}: {s.title}")
def test_what_the_page_shows_works_with_what_it_says_to_install(
    section: Section, tmp_path: Path, redis_server: Server, hidden: Callable[[str], str]
) -> None:
    path = os.pathsep.join([str(tmp_path), hidden(section.page)])
    env = {**ENVIRONMENT, "LIGHTBUS__BUS__REDIS__URL": redis_server.url, "PYTHONPATH": path}
    done = section.run(tmp_path, env)
    assert done.returncode == 0, done.stdout + done.stderr
    if section.output is not None:
        assert done.stdout == section.output


def test_all_code_of_the_how_tos_is_run() -> None:
    left_out = {page.name for page in (DOCS / "how-to").glob("*.md") if "```python\n" in page.read_text()}
    assert left_out == {
        "outbox.md",  # run by tests/outbox/test_page.py
        "console.md",  # run by tests/web/test_page.py
        "inbox.md",  # run by tests/outbox/inbox/test_page.py
        "plugins.md",  # run by tests/guide/test_plugins_page.py
        "typed-clients.md",  # read by type checkers in tests/contracts/clients/test_uses.py
    }


@pytest.mark.parametrize("text", manifests())
def test_a_manifest_that_a_page_shows_is_right(text: str, tmp_path: Path) -> None:
    (tmp_path / "lightbus.yaml").write_text(text)
    assert load(["lightbus.yaml"], environ={}, cwd=tmp_path).notes == ()


#: What needs an extra, in a manifest or a command, and the extra.
NEEDS = {
    r"^http:": "http",
    r"cron: ": "schedule",
    r"tracing: \{enabled: true": "otel",
    r"embedded: true": "embedded",
}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*/*.md")), ids=lambda page: page.stem)
def test_a_page_names_the_extras_that_its_manifests_need(page: Path) -> None:
    text = "\n".join(re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE))
    needed = {extra for pattern, extra in NEEDS.items() if re.search(pattern, text, re.MULTILINE)}
    assert needed <= extras(page)


def test_a_page_without_an_extra_can_not_use_it(tmp_path: Path, redis_server: Server) -> None:
    section = next(s for s in SECTIONS if s.page == "how-to/schedules.md")
    path = os.pathsep.join([str(tmp_path), only(["lightbus"], tmp_path / "hidden")])
    done = section.run(tmp_path, {"LIGHTBUS__BUS__REDIS__URL": redis_server.url, "PYTHONPATH": path})
    assert done.returncode == 1
    assert "pip install 'lightbus[schedule]'" in done.stderr


PAGE = """# A page

```python
this is not run
```

## One

```python run
# shop/names.py
NAME = "cup"
```

```python run
from shop.names import NAME
```

Words.

```python run
print(NAME)
```

```text output
cup
```

## Two

```python run
def test_that_it_is_found():
    from shop.names import NAME
    assert NAME == "pot"
```
"""


def test_a_page_is_read_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    one, two = sections(tmp_path / "page.md", tmp_path)
    assert (one.page, one.title, list(one.files)) == ("page.md", "One", ["shop/names.py"])
    done = one.run(tmp_path / "one", {})
    assert (done.returncode, done.stdout, done.stderr) == (0, one.output, "")
    assert two.output is None
    done = two.run(tmp_path / "two", {})
    assert (done.returncode, "1 failed" in done.stdout) == (1, True)
