"""An editor in which typed clients are used, with what a language server says in boxes."""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from .language_server import LanguageServer
from .terminal import COLUMNS

ROOT = Path(__file__).parents[2]
_START = "from shop.bus_types import get_bus\n\nbus = get_bus()\n"
_AFTER_DOT = "bus.shop.orders."
_IN_BRACKETS = "number = bus.shop.orders.place("
_HOVERED = 'number = bus.shop.orders.place(customer="Ann", lines=[])'
_WRONG = 'bus.shop.orders.place(costumer="Ann", lines=[])'


def editor() -> str:
    """Return what an editor shows of the shop's typed clients, with its colours as a terminal gets them."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        (folder / "shop").mkdir()
        shutil.copy(ROOT / "examples" / "shop" / "bus_types.py", folder / "shop")
        options = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
        (folder / "pyrightconfig.json").write_text(json.dumps(options))
        with LanguageServer(folder) as server:
            return _shown(_lines(server))


def _lines(server: LanguageServer) -> list[Text]:
    lines = [_code(line) for line in _START.split("\n")[:-1]]
    lines += [_code(_AFTER_DOT, cursor=True)]
    lines += _box(server.completions(_START + _AFTER_DOT), len(_AFTER_DOT))
    signature, said = server.signature(_START + _IN_BRACKETS)
    lines += [_code(_IN_BRACKETS, cursor=True)]
    lines += _box([*textwrap.wrap(signature, COLUMNS - 16, subsequent_indent="  "), said.strip()], 4)
    lines += [_code(_HOVERED)]
    hover = server.hover(_START + _HOVERED, "number").replace("```python", "").replace("```", "")
    lines += _box([hover.strip()], 4)
    lines += [_code(_WRONG)]
    for start, end, message in server.problems(_START + _WRONG):
        under = Text(" " * (len(_margin()) + start)) + Text("~" * (end - start), "red")
        lines += [under + Text(f" {message.splitlines()[0]}", "bold red")]
    return lines


def _margin() -> str:
    return "  "


def _code(line: str, *, cursor: bool = False) -> Text:
    syntax = Syntax(line, "python", theme="ansi_dark", background_color="default")
    text = Text(_margin()) + syntax.highlight(line)
    text.rstrip()
    return text + Text("▏", "bold") if cursor else text


def _box(rows: list[str], indent: int) -> list[Text]:
    width, space = max(map(len, rows)), " " * (len(_margin()) + indent)
    side = ("│", "blue")
    middle = [Text.assemble(space, side, f" {row.ljust(width)} ", side) for row in rows]
    return [
        Text(f"{space}╭{'─' * (width + 2)}╮", "blue"), *middle, Text(f"{space}╰{'─' * (width + 2)}╯", "blue")
    ]  # fmt: skip


def _shown(lines: list[Text]) -> str:
    out = StringIO()
    console = Console(
        file=out, force_terminal=True, color_system="standard", width=COLUMNS, legacy_windows=False
    )
    for line in lines:
        console.print(line, highlight=False, no_wrap=True, crop=False)
    return out.getvalue()
