"""Names and sentences as a person reads them in lines of limited width."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len, chop_cells

#: Stands for the part of a name that was cut out.
CUT = "…"


def middle(name: str, width: int) -> str:
    """Cut a name in the middle, since its beginning and its end both tell it from others.

    Args:
        name: The name.
        width: The most columns of a terminal that it may have.
    """
    if cell_len(name) <= width:
        return name
    kept = width - cell_len(CUT)
    if kept <= 0:
        return CUT[:width]
    start, end = kept - kept // 2, kept // 2
    return _first(name, start) + CUT + _first(name[::-1], end)[::-1]


def some(names: Sequence[str], width: int) -> str:
    """List as many names as there is room for, and count the others."""
    listed = ", ".join(names)
    if cell_len(listed) <= width or not names:
        return listed
    for count in range(len(names) - 1, 0, -1):
        listed = f"{', '.join(names[:count])} +{len(names) - count}"
        if cell_len(listed) <= width:
            return listed
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return middle(names[0], max(1, width - len(more))) + more


def paragraph(text: str, width: int | None, first: str = "", rest: str | None = None) -> list[str]:
    """Break a sentence into lines between its words.

    Args:
        text: The sentence.
        width: The width of a line; None for one line.
        first: Begins the first line.
        rest: Begins the others; as much space as ``first`` has if not given.
    """
    if width is None:
        return [first + text]
    rest = " " * len(first) if rest is None else rest
    wrapper = textwrap.TextWrapper(width, first, rest, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text) or [first]


def line_width(output: TextIO | None = None) -> int | None:
    """Return the width of the terminal that is written to; None if it is none.

    Args:
        output: Where that goes; standard output if not given.
    """
    return shutil.get_terminal_size().columns if (output or sys.stdout).isatty() else None


def complain(text: str) -> None:
    """Write sentences to standard error; on a terminal, their lines are broken between words."""
    for sentence in text.splitlines():
        print(*paragraph(sentence, line_width(sys.stderr)), sep="\n", file=sys.stderr)


def is_plain() -> bool:
    """Tell whether output is read by a program, or by somebody who wants no colour."""
    return bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()


def _first(name: str, width: int) -> str:
    return chop_cells(name, width)[0] if width and name else ""
