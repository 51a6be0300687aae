"""Pieces of Python code: docstrings and classes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .names import is_word

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class FieldText:
    """One field of a class, or one parameter of a function.

    Args:
        name: Its name.
        hint: Its type hint.
        is_required: Whether it must be given.
        default: The expression of its default; None if there is none, or none that can be written.
    """

    name: str
    hint: str
    is_required: bool
    default: str | None = None


def docstring(
    text: str, indent: int, parameters: Mapping[str, str] | None = None, returns: str = ""
) -> list[str]:
    """Return the lines of a docstring, none where there is nothing to say.

    Args:
        text: What it says; it may come from a stranger.
        indent: The spaces before each line.
        parameters: What it says of each parameter.
        returns: What it says of the result.
    """
    lines = [line.rstrip() for line in text.strip().splitlines()]
    for title, items in (("Args:", parameters or {}), ("Returns:", {"": returns} if returns else {})):
        if items:
            lines += ["", title] if lines else [title]
            for name, said in items.items():
                said = " ".join((f"{name}: " if name else "", *said.split())).strip().replace(":  ", ": ")
                lines += textwrap.wrap(
                    said, _WIDTH - indent, initial_indent="    ", subsequent_indent=" " * 8
                )
    if not lines:
        return []
    lines = [_escaped(line) for line in lines]
    space = " " * indent
    if len(lines) == 1:
        return [f'{space}"""{lines[0]}"""']
    return [f'{space}"""{lines[0]}', *(f"{space}{line}".rstrip() for line in lines[1:]), f'{space}"""']


def _escaped(line: str) -> str:
    """Keep text within a docstring, and out of the code around it."""
    printable = "".join(c if c.isprintable() else " " for c in line.replace("\t", "    "))
    return printable.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').removesuffix('"') + (
        '\\"' if printable.endswith('"') else ""
    )


def dataclass_text(name: str, decorator: str, fields: Sequence[FieldText]) -> str:
    """Return a dataclass whose fields go by name."""
    body = [f"    {f.name}: {f.hint}" + (f" = {f.default}" if f.default is not None else "") for f in fields]
    return "\n".join([f"@{decorator}(kw_only=True)", f"class {name}:", *_body(body)])


def typed_dict_text(name: str, base: str, optional: str, fields: Sequence[FieldText]) -> str:
    """Return a TypedDict; one with keys that are no names of Python is made by a call.

    Args:
        name: Its name.
        base: The name of ``TypedDict``.
        optional: The name of ``NotRequired``.
        fields: Its keys.
    """
    hints = [(f.name, f.hint if f.is_required else f"{optional}[{f.hint}]") for f in fields]
    if all(is_word(key) and not key.startswith("__") for key, _ in hints):
        return "\n".join([f"class {name}({base}):", *_body([f"    {k}: {h}" for k, h in hints])])
    keys = [f"        {key!r}: {hint!r}," for key, hint in hints]
    return "\n".join([f"{name} = {base}(", f"    {name!r},", "    {", *keys, "    },", ")"])


def enum_text(name: str, base: str, members: Iterable[tuple[str, Any]]) -> str:
    """Return an Enum."""
    return "\n".join([f"class {name}({base}):", *_body([f"    {n} = {value!r}" for n, value in members])])


def _body(lines: Sequence[str]) -> Sequence[str]:
    return lines or ["    pass"]
