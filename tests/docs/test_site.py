"""`make docs` builds every page, and no link is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path / "site"),
        ],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "tutorial" / "three-services.html").read_text()
    assert "async def charge" in re.sub("<[^>]*>", "", page)
    assert "--8&lt;--" not in page


def test_links_of_texts_beside_it_lead_somewhere() -> None:
    for name in ("CHANGELOG.md", "examples/shop/README.md", "examples/quickstart/README.md"):
        file = ROOT / name
        for target in re.findall(r"\]\(([^)#]+)", file.read_text()):
            assert "://" in target or (file.parent / target).exists(), f"{name}: {target}"
