"""Keys of Redis are made in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.transports import redis
from lightbus.transports.redis import keys

ROOM = Path(redis.__file__).parent
FILES = [path for path in ROOM.rglob("*.py") if path != Path(keys.__file__)]

#: What only keys have. The name of a consumer looks like one.
_PART = re.compile(
    r"(?!lightbus:nobody)\blightbus:\w+|:stream\b|:rpc_queue|rpc_expiry_key|schema:|:result:|\}:\w+"
)
#: A name in the metrics.
LABELS = {"lightbus:reply"}


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each string of a module, those in f-strings too, but for docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose:
            if isinstance(node.value, str):
                yield node.lineno, node.value
            elif isinstance(node.value, bytes):
                yield node.lineno, node.value.decode("latin-1")


def parts_of_keys(code: str) -> list[str]:
    return [
        f"line {line}: {text}"
        for line, text in texts(ast.parse(code))
        if text not in LABELS and _PART.search(text)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOM).as_posix())
def test_only_one_file_makes_keys(path: Path) -> None:
    assert parts_of_keys(path.read_text()) == []


@pytest.mark.parametrize(
    "code",
    [
        'f"{{{stream}}}:fired:{message_id}"',
        'f"{api}.*:stream"',
        'b".*:stream"',
        'f"lightbus:owner:{api}"',
        '"schema:a"',
    ],
)
def test_a_key_that_is_made_elsewhere_is_seen(code: str) -> None:
    assert len(parts_of_keys(f"key = {code}")) == 1
