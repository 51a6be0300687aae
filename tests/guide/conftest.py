"""Projects to run `lightbus` in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.support.servers import Server


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """An empty folder, and an empty Redis."""
    folder = tmp_path / "project"
    folder.mkdir()
    it = Project(folder, redis_server.url)
    yield it
    it.close()


@pytest.fixture
def bare_project(tmp_path: Path) -> Iterator[Project]:
    """An empty folder, with no Redis configured."""
    folder = tmp_path / "project"
    folder.mkdir()
    it = Project(folder, None)
    yield it
    it.close()
