"""Tables on standard output: on a terminal each row fits its line; a program gets whole names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lightbus.cli.wording import is_plain, middle, paragraph, some
from lightbus.host.logs import on_one_line
from lightbus.insight.verdicts import Verdict as Verdict

#: The widest that a column is made for rows which are not cut; longer cells stand out of it.
_WIDEST = 40
#: How many rows are looked at before the widths are chosen.
_LOOKED_AT = 200
_STYLES = ("green", "yellow", "bold red")
#: Longer ones are cut before anything is measured: names come from the bus, where they may be of any length.
_LONGEST = 400


Cell = str | int | Verdict | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Args:
        title: Its title.
        is_number: Whether it is aligned at its right.
        least: The width down to which it may be cut; None if it is never cut.
    """

    title: str
    is_number: bool = False
    least: int | None = None


def console() -> Console:
    """Return standard output, which takes colours on a terminal only."""
    return Console(
        markup=False,
        highlight=False,
        emoji=False,
        color_system=None if is_plain() else "auto",
        soft_wrap=True,
    )


class Table:
    """A table whose rows may be so many that they are printed while they come.

    Args:
        columns: Its columns.
        width: The width that lines have to fit; None if they are not cut.
    """

    def __init__(self, columns: Sequence[Column], width: int | None) -> None:
        self._columns = columns
        self._console = console()
        self._width = width
        self._rows: list[tuple[Cell, ...]] = []
        #: What stands below each row.
        self._below: list[str] = []
        self._widths: list[int] | None = None
        self._gap = 2

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, *cells: Cell, below: str = "") -> None:
        """Add a row; it is printed when enough are there to choose the widths.

        Args:
            cells: Its cells.
            below: A sentence that stands below it, broken into lines.
        """
        self._rows.append(cells)
        self._below.append(below)
        if self._widths is not None or len(self._rows) >= _LOOKED_AT:
            self.flush()

    def flush(self) -> None:
        """Print the rows that were not printed yet."""
        for line in self.lines():
            self._console.print(line, soft_wrap=True)
        self._rows.clear()
        self._below.clear()

    def lines(self) -> Iterator[Text]:
        """Return the lines of these rows, with titles the first time; nothing if there is no row."""
        if not self._rows:
            return
        rows = [[self._text(cell) for cell in row] for row in self._rows]
        if self._widths is None:
            self._choose_widths(rows)
            yield self._line([column.title for column in self._columns], "bold")
        for row, cells, below in zip(rows, self._rows, self._below, strict=True):
            styles = [_STYLES[c.severity] if isinstance(c, Verdict) else "" for c in cells]
            yield self._line(row, styles)
            if below:
                yield from (Text(line, "dim") for line in paragraph(on_one_line(below), self._width, "    "))

    def _text(self, cell: Cell) -> str | tuple[str, ...]:
        if isinstance(cell, Verdict):
            return cell.word
        if isinstance(cell, int):
            # A program reads digits alone.
            return f"{cell:,}" if self._width is not None else str(cell)
        if isinstance(cell, tuple):
            return tuple(on_one_line(self._short(name)) for name in cell) or "-"
        return on_one_line(self._short(cell)) or "-"

    def _short(self, name: str) -> str:
        return middle(name, _LONGEST) if self._width is not None and len(name) > _LONGEST else name

    def _choose_widths(self, rows: Iterable[Sequence[str | tuple[str, ...]]]) -> None:
        columns = self._columns
        widths = [cell_len(column.title) for column in columns]
        for row in rows:
            widths = [max(width, cell_len(_joined(cell))) for width, cell in zip(widths, row, strict=True)]
        self._widths = widths
        if self._width is None:
            self._widths = [min(width, _WIDEST) for width in widths]
            return
        too_much = sum(widths) + self._gap * (len(columns) - 1) - self._width
        if too_much > 0:
            self._gap = 1
            too_much -= len(columns) - 1
        least = [max(c.least, cell_len(c.title)) if c.least is not None else None for c in columns]
        while too_much > 0:
            given = [i for i, most in enumerate(least) if most is not None and widths[i] > most]
            if not given:
                break
            widths[max(given, key=widths.__getitem__)] -= 1
            too_much -= 1

    def _line(self, cells: Sequence[str | tuple[str, ...]], styles: str | Sequence[str]) -> Text:
        line = Text(no_wrap=True, overflow="ignore")
        widths = self._widths or []
        for index, (column, cell, width) in enumerate(zip(self._columns, cells, widths, strict=True)):
            is_cut = self._width is not None
            text = _fit(cell, width) if is_cut else _joined(cell)
            padding = " " * (width - cell_len(text))
            is_last = index == len(widths) - 1
            line.append(" " * self._gap if index else "")
            line.append(padding if column.is_number else "")
            line.append(text, styles if isinstance(styles, str) else styles[index])
            line.append("" if column.is_number or is_last else padding)
        return line


def _joined(cell: str | tuple[str, ...]) -> str:
    return cell if isinstance(cell, str) else ", ".join(cell)


def _fit(cell: str | tuple[str, ...], width: int) -> str:
    return middle(cell, width) if isinstance(cell, str) else some(cell, width)
