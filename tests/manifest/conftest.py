"""What the tests of the manifest share: a folder, and a way to load what is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lightbus.manifest.load import load
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import InvalidManifest


@dataclass
class Folder:
    """A folder with manifests, loaded without the environment of the test run."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str | bytes) -> str:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    def load(
        self, *paths: str, sets: Sequence[str] = (), flags: Mapping[str, Any] | None = None, **more: Any
    ) -> Manifest:
        return load(paths, overrides=sets, flags=flags, environ=self.environ, cwd=self.path, **more)

    def read(self, text: str | bytes, **more: Any) -> Manifest:
        return self.load(self.write("lightbus.yaml", text), **more)

    def problems(self, text: str | bytes, **more: Any) -> list[str]:
        self.write("lightbus.yaml", text)
        return self.problems_of("lightbus.yaml", **more)

    def problems_of(self, *paths: str, **more: Any) -> list[str]:
        with pytest.raises(InvalidManifest) as caught:
            self.load(*paths, **more)
        return caught.value.problems


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
