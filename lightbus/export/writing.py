"""Files on the disk: written, or compared with what would be written."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lightbus.exceptions import LightbusException

#: A word at the top of every file that was written, by which it is known as one.
_MARK = "# Written by: lightbus export "
# Text that needs no quotes in any version of YAML.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*", re.ASCII)
_READ_AS_OTHERS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


class NotOurs(LightbusException):
    """A file is in the way that somebody else has written."""


def text_in_yaml(text: str) -> str:
    """Return text as a scalar of YAML, in quotes where it needs them."""
    if _PLAIN.fullmatch(text) and text.lower() not in _READ_AS_OTHERS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def list_in_yaml(words: Iterable[str]) -> str:
    """Return words as a list of YAML on one line."""
    return f"[{', '.join(text_in_yaml(word) for word in words)}]"


def indented(lines: Iterable[str], by: int) -> str:
    """Return lines with so many spaces before each."""
    return "".join(f"{' ' * by}{line}\n" for line in lines)


def write(files: Mapping[str, str], folder: Path) -> Iterator[Path]:
    """Write files into a folder, which is made where there is none.

    Args:
        files: The content of each, by name.
        folder: The folder.

    Returns:
        The path of each, once it is written.

    Raises:
        NotOurs: One of them is there, and was written by somebody else; none is written then.
    """
    for name in files:
        there = _read(folder / name)
        if there is not None and _MARK not in there:
            raise NotOurs(
                f"{folder / name} was not written by this command, and stays as it is; move it away, or "
                "choose another folder. Nothing was written"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        yield folder / name


def differences(files: Mapping[str, str], folder: Path) -> str:
    """Return a diff between the files of a folder and those that would be written; empty if they agree.

    Args:
        files: The content that would be written, by name.
        folder: The folder.
    """
    parts: list[str] = []
    for name, text in files.items():
        there = _read(folder / name)
        if there != text:
            before = "/dev/null" if there is None else str(folder / name)
            old, new = (there or "").splitlines(keepends=True), text.splitlines(keepends=True)
            parts += difflib.unified_diff(old, new, before, f"{name} as it would be written")
    return "".join(part if part.endswith("\n") else f"{part}\n" for part in parts)


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else None
