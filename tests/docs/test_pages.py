"""Every block of the docs that is marked as code to run does what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightbus.manifest.load import load
from tests.support.servers import Server

from .pages import DOCS, Section, manifests, sections

SECTIONS = [section for page in sorted(DOCS.rglob("*.md")) for section in sections(page)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: f"{s.page}: {s.title}")
def test_what_the_page_shows_works(section: Section, tmp_path: Path, redis_server: Server) -> None:
    done = section.run(tmp_path, {"LIGHTBUS__BUS__REDIS__URL": redis_server.url})
    assert done.returncode == 0, done.stdout + done.stderr
    if section.output is not None:
        assert done.stdout == section.output


def test_all_code_of_the_how_tos_is_run() -> None:
    left_out = [page.name for page in (DOCS / "how-to").glob("*.md") if "```python\n" in page.read_text()]
    assert left_out == ["plugins.md"], "that one is run by tests/guide/test_plugins_page.py"


@pytest.mark.parametrize("text", manifests())
def test_a_manifest_that_a_page_shows_is_right(text: str, tmp_path: Path) -> None:
    (tmp_path / "lightbus.yaml").write_text(text)
    assert load(["lightbus.yaml"], environ={}, cwd=tmp_path).notes == ()


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
