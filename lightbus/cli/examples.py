"""The examples that ``lightbus init --example`` writes, as they stand in the checkout."""

from __future__ import annotations

import re
from pathlib import Path

#: For each example its files, by pattern.
EXAMPLES = {
    "shop": (
        "config/*.yaml",
        "config/environments/*.yaml",
        "examples/__init__.py",
        "examples/shop/*.py",
        "examples/shop/*.yaml",
        "examples/shop/README.md",
    )
}
_SCHEMA = re.compile(r"(?<=\$schema=)\S+")


def files_of(example: str, schema: str) -> dict[str, str]:
    """Return the files of an example: their names and what is in them.

    Args:
        example: Its name.
        schema: The file with the schema of manifests, for editors; seen from the folder of the example.
    """
    root = _root()
    paths = sorted(path for pattern in EXAMPLES[example] for path in root.glob(pattern))
    names = [path.relative_to(root).as_posix() for path in paths]
    return {
        name: _SCHEMA.sub("../" * name.count("/") + schema, path.read_text(encoding="utf-8"), count=1)
        for name, path in zip(names, paths, strict=True)
    }


def _root() -> Path:
    """Return the folder with the examples: in the wheel beside this file, else that of the checkout."""
    own = Path(__file__).with_name("example_files")
    return own if own.is_dir() else Path(__file__).parents[2]
