"""The link to the repository is the one of the package, ``[project.urls]`` in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_NAMES = ("repository", "source", "source code", "github")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the link into the header of each page, if the package has one."""
    url = found_in(_PROJECT)
    if url is not None:
        config.repo_url = url
        config.repo_name = urlsplit(url).path.strip("/")
    return config


def found_in(project: Path) -> str | None:
    """Return the repository that a pyproject.toml names, or None."""
    urls: dict[str, str] = tomllib.loads(project.read_text())["project"].get("urls", {})
    return next((url for name, url in urls.items() if name.lower() in _NAMES), None)
