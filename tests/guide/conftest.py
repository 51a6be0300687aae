"""Projects to run `lightbus` in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.host.conftest import bench as bench
from tests.host.conftest import in_process as in_process
from tests.support.patient import ENVIRONMENT
from tests.support.servers import Server


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Iterator[Project]:
    """An empty folder, and an empty Redis."""
    folder = tmp_path / "project"
    folder.mkdir()
    it = Project(folder, redis_server.url)
    it.env |= ENVIRONMENT
    yield it
    it.close()


@pytest.fixture
def bare_project(tmp_path: Path) -> Iterator[Project]:
    """An empty folder, with no Redis configured."""
    folder = tmp_path / "project"
    folder.mkdir()
    it = Project(folder, None)
    it.env |= ENVIRONMENT
    yield it
    it.close()
