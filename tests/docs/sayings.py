"""The sentences that the code can say, to be compared with those that a page quotes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "lightbus"

#: The fewest characters of a sentence that are its own, and not those of a placeholder.
_LEAST = 8
_PLACEHOLDER = re.compile(r"%[-.\d]*[sdrg]|\{[^{}]*\}")
_WORD = re.compile(r"[^\s'\"();]+")


class Sayings:
    """Every text in the code of the package, but for its docstrings.

    Args:
        values: Patterns of what stands in place of placeholders in quotes: names, numbers, words of others.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = re.compile("|".join(values))
        self._texts = sorted({pieces for path in PACKAGE.rglob("*.py") for pieces in _texts(path)})

    def unsaid(self, quote: str) -> list[str]:
        """Return the words of a quote that the code has not, and that are no values."""
        covered = bytearray(len(quote))
        for pieces in self._texts:
            if all(piece in quote for piece in pieces):
                pattern = ".*?".join(f"({re.escape(piece)})" for piece in pieces)
                for found in re.finditer(pattern, quote):
                    for start, end in found.regs[1:]:
                        covered[start:end] = b"\1" * (end - start)
        left = "".join(c if not is_covered else " " for c, is_covered in zip(quote, covered, strict=True))
        return [
            fragment
            for word in _WORD.finditer(quote)
            for fragment in _WORD.findall(left[word.start() : word.end()])
            # Another text may have the end of a word that is a value as a whole.
            if not any(self._values.fullmatch(each.strip(".,:")) for each in (fragment, word[0]))
        ]


def _texts(path: Path) -> Iterator[tuple[str, ...]]:
    """The texts of a file, each cut where a value is filled in."""
    tree = ast.parse(path.read_text())
    # The parts of an f-string are no texts of their own, nor is a docstring one.
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(node.values)
        elif isinstance(node, ast.Expr):
            skipped.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            pieces = [re.sub(r"\s+", " ", part) for part in parts if isinstance(part, str)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            pieces = _PLACEHOLDER.split(re.sub(r"\s+", " ", node.value))
        else:
            continue
        pieces = [piece for piece in pieces if piece]
        if sum(map(len, pieces)) >= _LEAST:
            yield tuple(pieces)
