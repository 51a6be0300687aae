"""``${VAR}`` and ``${file:/path}`` within scalar values."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lightbus.manifest.problems import Problems, shown

from .nodes import Broken, Node, Untyped

#: Room for what ``${file:}`` names, in bytes.
LARGEST_FILE = 64 * 1024
_MOST_TEXT = 8 * 1024 * 1024

_EXPRESSION = re.compile(
    r"\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|file:(?P<file>[^}]*?))"
    r"(?:(?P<operator>:[-?])(?P<text>[^}]*))?\}"
)


@dataclass(frozen=True, slots=True)
class Expression:
    """One ``${...}`` as it was written.

    Args:
        name: The environment variable; empty for a file.
        file: The file; empty for a variable.
        default: The text that stands there if nothing else does; None if there must be something.
    """

    name: str
    file: str
    default: str | None


def expressions(text: str) -> Iterator[Expression]:
    """Go through the expressions in text; ``$${`` begins none."""
    for match in _EXPRESSION.finditer(text):
        if text[match.start() - 1 : match.start()] != "$":
            default = match["text"] if match["operator"] == ":-" else None
            yield Expression(match["name"] or "", match["file"] or "", default)


class Variables:
    """Replaces expressions by what they stand for.

    Args:
        environ: The environment.
        cwd: The folder at which relative paths start in sources without a folder.
        problems: Takes what can't be replaced.
        trust_remote: Whether manifests from the network may name local files.
        unfilled: Whether each has its default or is left out, which is no problem then, and no file is read;
            save in ``include``, without which there is no manifest.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        cwd: Path,
        problems: Problems,
        *,
        trust_remote: bool = False,
        unfilled: bool = False,
    ) -> None:
        self._unfilled = unfilled
        self._environ = environ
        self._cwd = cwd
        self._problems = problems
        self._trust_remote = trust_remote
        self._room = _MOST_TEXT
        self._files: dict[Path, bytes | str] = {}

    def expand(self, node: Node, path: str = "") -> Node:
        """Return the node with every expression in it replaced.

        Args:
            node: The node that was read.
            path: Its path, for problems.

        Returns:
            A new node, in which :class:`Broken` stands for what could not be replaced.
        """
        if isinstance(node.value, dict):
            children = {k: self.expand(n, f"{path}.{k}" if path else k) for k, n in node.items()}
            return replace(node, value=children)
        if isinstance(node.value, list):
            return replace(node, value=[self.expand(n, f"{path}[{i}]") for i, n in enumerate(node.value)])
        if not isinstance(node.value, str) or node.literal or "${" not in node.value:
            return node
        text, hidden = self._expand_text(node, node.value, path)
        reread = None
        if hidden:
            at = node.place.source
            reread = Reread(node.value, at, node, self._cwd, self._environ, self._trust_remote)
        hidden = node.hidden or hidden
        return replace(node, value=text, hidden=hidden, reread=reread, written=node.value)

    def _expand_text(self, node: Node, text: str, path: str) -> tuple[str, bool]:
        parts: list[str] = []
        hidden = changed = False
        position = 0
        while (start := text.find("${", position)) >= 0:
            if text[start - 1 : start] == "$" and start > position:
                parts += text[position : start - 1], "${"
                position = start + 2
                continue
            # Looked for by find() and not by the pattern, which would look to the end each time.
            end = text.find("}", start) + 1
            match = _EXPRESSION.fullmatch(text, start, end) if end else None
            if match is None:
                # The text itself is not repeated: it may be a password.
                what = (
                    "${ begins no expression; write ${NAME}, ${NAME:-default} or ${file:/path}, or $${ for ${"
                )
                self._problems.add(node.place, path, what)
                return Broken(), False
            value = self._value(node, match, path)
            if value is None:
                return Broken(), False
            parts += text[position:start], value
            hidden, changed, position = hidden or match["file"] is not None, True, end
            self._room -= len(value)
            if self._room < 0:
                self._problems.add(node.place, path, "what ${...} stands for is more than 8 MiB in all")
                return Broken(), False
        result = "".join((*parts, text[position:]))
        return (Untyped(result) if changed else result), hidden

    def _value(self, node: Node, match: re.Match[str], path: str) -> str | None:
        if self._unfilled and not path.startswith("include"):
            return match["text"] if match["operator"] == ":-" else None
        if match["file"] is not None:
            found, why = self._from_file(node, match["file"])
        else:
            name = match["name"]
            found = self._environ.get(name)
            why = f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
        if match["operator"] and not found:
            if match["operator"] == ":-":
                return match["text"]
            found, why = None, shown(match["text"]) or f"{match['name'] or 'the file'} must be given"
        if found is None:
            self._problems.add(node.place, path, why)
        return found

    def _from_file(self, node: Node, name: str) -> tuple[str | None, str]:
        if node.place.remote and not self._trust_remote:
            return None, "a manifest from a URL may name local files only with --trust-remote"
        if not name or "\0" in name:
            return None, "${file:} needs a path; write ${file:/path}"
        folder = Path(node.place.source).parent if node.place.line and not node.place.remote else Path()
        full = self._cwd / folder / name
        content = self._files.get(full)
        if content is None:
            content = self._files[full] = read_limited(full, LARGEST_FILE)
        if isinstance(content, str):
            return None, f"the file {shown(name)} {content}"
        try:
            return content.decode().rstrip("\r\n"), ""
        except UnicodeDecodeError:
            return None, f"the file {shown(name)} is not UTF-8"


@dataclass(frozen=True, slots=True)
class Reread:
    """Reads text with ``${file:}`` in it again; two are equal that read the same.

    Args:
        text: As it was written.
        source: The file or URL that has it.
        node: The same with its place.
        cwd: The folder at which relative paths start in sources without a folder.
        environ: The environment.
        trust_remote: Whether manifests from the network may name local files.
    """

    text: str
    source: str
    node: Node = field(compare=False)
    cwd: Path
    environ: Mapping[str, str] = field(compare=False)
    trust_remote: bool

    def __call__(self) -> str | None:
        """Return the text as it is by now; None if it can't be had."""
        variables = Variables(self.environ, self.cwd, Problems(), trust_remote=self.trust_remote)
        value = variables.expand(self.node).value
        return str(value) if isinstance(value, str) and not isinstance(value, Broken) else None


def read_limited(path: Path, limit: int) -> bytes | str:
    """Read a regular file.

    Args:
        path: The file.
        limit: The most bytes that it may have.

    Returns:
        The content; or, as text, why it can't be had.
    """
    try:
        # Opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return "does not exist"
    except PermissionError:
        return "may not be read by this user"
    except (OSError, ValueError) as e:
        return f"can't be read: {getattr(e, 'strerror', None) or 'no such path'}"
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        return "is a folder" if stat.S_ISDIR(kind) else "is no regular file"
    with os.fdopen(descriptor, "rb") as file:
        try:
            data = file.read(limit + 1)
        except OSError as e:
            return f"can't be read: {e.strerror}"
    return f"is larger than {limit // 1024} KiB" if len(data) > limit else data
