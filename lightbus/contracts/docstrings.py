"""Docstrings, as Google, NumPy and Sphinx lay them out: the text, and what they say of each parameter."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

_Kind = Literal["text", "parameters", "returns", "other"]

_SECTIONS: Final[dict[str, _Kind]] = {
    **dict.fromkeys(("args", "arguments", "parameters", "params"), "parameters"),
    **dict.fromkeys(("keyword args", "keyword arguments", "other parameters"), "parameters"),
    **dict.fromkeys(("returns", "return"), "returns"),
    **dict.fromkeys(("raises", "yields", "warns", "attributes"), "other"),
}
_HEADING: Final = re.compile(r"([A-Z][A-Za-z ]+?):?\s*")
_PARAMETER: Final = re.compile(r"\*{0,2}(\w+(?:, ?\*{0,2}\w+)*)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_PARAMETER: Final = re.compile(r"\*{0,2}(\w+(?:, ?\*{0,2}\w+)*)\s*(?: :.*)?()")
_FIELD: Final = re.compile(r":(\w+)([^:]*):\s*(.*)")
_FIELDS: Final[dict[str, _Kind]] = {
    **dict.fromkeys(("param", "parameter", "arg", "argument", "key", "keyword"), "parameters"),
    **dict.fromkeys(("return", "returns"), "returns"),
    **dict.fromkeys(("raise", "raises", "rtype", "type", "yield", "yields"), "other"),
}


@dataclass(frozen=True, slots=True)
class Docs:
    """What a docstring says.

    Args:
        text: What stands before and between its sections.
        parameters: What it says of each parameter, in one line.
        returns: What it says of the result.
    """

    text: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    returns: str = ""


def docs_of(docstring: str | None) -> Docs:
    """Read a docstring."""
    lines: dict[_Kind, list[str]] = {"text": [], "parameters": [], "returns": [], "other": []}
    parameters: dict[str, str] = {}
    for kind, line in _sorted_out(inspect.cleandoc(docstring or "").splitlines()):
        lines[kind].append(line)
    for names, text in _items(lines["parameters"]):
        for name in names.replace("*", "").replace(" ", "").split(","):
            parameters[name] = text
    text = "\n".join(lines["text"]).strip()
    return Docs(re.sub(r"\n{3,}", "\n\n", text), parameters, _one_line(lines["returns"]))


def docs_of_attributes(cls: type) -> dict[str, Docs]:
    """Return what the strings say that stand below the attributes of a class, as editors show them.

    Args:
        cls: A class; nothing is found where its source is not there.
    """
    try:
        file = inspect.getsourcefile(cls) or ""
    except (TypeError, OSError):
        return {}
    body = _classes_of("".join(linecache.getlines(file))).get(cls.__qualname__, {})
    return {name: docs_of(text) for name, text in body.items()}


def _sorted_out(lines: list[str]) -> Iterator[tuple[_Kind, str]]:
    """Yield each line with the kind of section that it stands in; a parameter as Google writes it."""
    kind: _Kind = "text"
    is_numpy = False
    for number, line in enumerate(lines):
        below = lines[number + 1].strip() if number + 1 < len(lines) else ""
        heading = _HEADING.fullmatch(line)
        section = _SECTIONS.get(heading[1].lower()) if heading else None
        named = _FIELD.fullmatch(line)
        if heading and below and not below.strip("-") and len(below) > 2:
            kind, is_numpy = section or "text", section is not None
            if section is None:
                yield kind, line
        elif section and line.rstrip().endswith(":"):
            kind, is_numpy = section, False
        elif named and named[1] in _FIELDS:
            kind, is_numpy = _FIELDS[named[1]], False
            yield kind, f"{named[2].split()[-1]}: {named[3]}" if named[2].strip() else named[3]
        elif is_numpy and line and not line.strip("-"):
            continue
        elif is_numpy and kind == "parameters" and (named := _NUMPY_PARAMETER.fullmatch(line)):
            yield kind, f"{named[1]}:"
        else:
            if line and not line[0].isspace() and not is_numpy:
                kind = "text"
            yield kind, line


def _items(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield names and text of each item of a section, which begins where the section is least indented."""
    names = ""
    text: list[str] = []
    for line in textwrap.dedent("\n".join(lines)).splitlines():
        found = _PARAMETER.fullmatch(line)
        if found:
            if names:
                yield names, _one_line(text)
            names, text = found[1], [found[2]]
        else:
            text.append(line)
    if names:
        yield names, _one_line(text)


def _one_line(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


@lru_cache(maxsize=64)
def _classes_of(source: str) -> dict[str, dict[str, str]]:
    """Return the strings below attributes, by the qualified name of each class of a module."""
    found: dict[str, dict[str, str]] = {}
    try:
        _walk(ast.parse(source), "", found)
    except (SyntaxError, ValueError):
        # It is no Python that this one reads, such as a cell of a notebook with magic in it.
        return {}
    return found


def _walk(node: ast.AST, prefix: str, found: dict[str, dict[str, str]]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            found[f"{prefix}{child.name}"] = dict(_attributes(child))
            _walk(child, f"{prefix}{child.name}.", found)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            _walk(child, f"{prefix}{child.name}.<locals>.", found)
        else:
            _walk(child, prefix, found)


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, below in zip(node.body, node.body[1:], strict=False):
        targets: list[ast.expr] = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            text = below.value.value
            if isinstance(text, str):
                yield from ((target.id, text) for target in targets if isinstance(target, ast.Name))
