"""The problems of a manifest: collected in one run, each with its place, in the order of the files."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lightbus.exceptions import ManifestError
from lightbus.transports.port import Topic

Format = Literal["text", "json", "github"]
Severity = Literal["error", "warning", "note"]

#: More problems than anybody reads, and few enough to print.
MOST_PROBLEMS = 1000
_MOST_SUGGESTIONS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value.

    Args:
        source: A file, a URL without its secrets, an environment variable or a flag.
        line: The line from 1, or 0 if the source has none.
        column: The column from 1, or 0.
        rank: When the source was read; problems are listed in this order.
        remote: Whether it came over the network.
    """

    source: str
    line: int = 0
    column: int = 0
    rank: int = 0
    remote: bool = False

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to tell about a manifest.

    Args:
        place: Its place.
        path: The key that it is about, with dots; empty for a whole file.
        what: Says what is wrong and what to do; never holds a secret.
        severity: Whether it stops a start.
        topic: Its topic, where a broker is at fault.
    """

    place: Place
    path: str
    what: str
    severity: Severity = "error"
    topic: Topic = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.what}" if self.path else self.what
        return f"{self.place}  {text}" if self.place.source else text


class InvalidManifest(ManifestError):
    """The manifest can't be used; every reason is given, with its place.

    Args:
        located: The reasons, in the order of the files.
    """

    def __init__(self, located: Sequence[Problem]) -> None:
        super().__init__([str(p) for p in located])
        self.located = tuple(located)


@dataclass(slots=True)
class Problems:
    """Collects problems, each once."""

    found: list[Problem] = field(default_factory=list)
    _seen: set[tuple[Place, str]] = field(default_factory=set)
    _suggested: int = 0

    def add(
        self, place: Place, path: str, what: str, severity: Severity = "error", topic: Topic = ""
    ) -> None:
        """Add a problem, unless the same was said of the same place."""
        # A mistake in apis.default would otherwise come up once for each API that lies above it; the advice
        # after the semicolon may then differ.
        told = place, what.partition(";")[0]
        if told not in self._seen and len(self.found) < 2 * MOST_PROBLEMS:
            self._seen.add(told)
            self.found.append(Problem(place, path, what, severity, topic))

    def suggest(self, name: str, known: Iterable[str]) -> str:
        """Return ``; did you mean "..."?``, or the known names where none is near."""
        # Suggestions cost more than all else; a file of nothing but mistakes must still be quick.
        self._suggested += 1
        return suggest(name, known) if self._suggested < _MOST_SUGGESTIONS else ""

    def raise_errors(self) -> None:
        """Raise what stops a start.

        Raises:
            InvalidManifest: There was at least one error.
        """
        errors = self.ordered("error")
        if errors:
            more = len(errors) - MOST_PROBLEMS
            if more > 0:
                last = errors[MOST_PROBLEMS]
                errors = [*errors[:MOST_PROBLEMS], Problem(last.place, "", f"and {more} or more like these")]
            raise InvalidManifest(errors)

    def ordered(self, *severities: Severity) -> list[Problem]:
        """Return the problems of these severities in the order of the files."""
        chosen = [p for p in self.found if p.severity in severities]
        return sorted(chosen, key=lambda p: (p.place.rank, p.place.line, p.place.column))


def suggest(name: str, known: Iterable[str]) -> str:
    """Return advice about a name that is not known.

    Args:
        name: The name that was written.
        known: The names that are known.

    Returns:
        Text that begins with ``;``, or an empty string.
    """
    names = sorted(known)
    if not names:
        return ""
    near = difflib.get_close_matches(name.lower(), names, 1, 0.6) if len(name) <= 64 else []
    if near:
        return f'; did you mean "{near[0]}"?'
    listed = ", ".join(names[:20])
    return f"; it may be one of: {listed}" + (", ..." if len(names) > 20 else "")


#: The longest path of a file that Linux knows: whoever is told of a place wants to go there.
LONGEST_PATH = 4096


def shown(text: str, most: int = 80) -> str:
    """Return text from outside in a form that fits one line of a terminal, in up to ``most`` characters."""
    short = text if len(text) <= most else f"{text[: most - 3]}..."
    return short if short.isprintable() else short.encode("unicode_escape").decode("ascii")


def render(problems: Iterable[Problem], form: Format = "text") -> str:
    """Return problems as text.

    Args:
        problems: The problems.
        form: ``text`` for people, ``json`` for programs, ``github`` for annotations of a pull request.

    Returns:
        One line per problem; for ``json`` one array.
    """
    if form == "json":
        return json.dumps([_as_json(p) for p in problems], indent=2, ensure_ascii=False)
    if form == "github":
        return "\n".join(_as_annotation(p) for p in problems)
    mark = {"error": "", "warning": "warning: ", "note": "note: "}
    return "\n".join(
        f"{p.place}  {mark[p.severity]}{p.path + ': ' if p.path else ''}{p.what}".lstrip() for p in problems
    )


def _as_json(problem: Problem) -> dict[str, str | int]:
    return {
        "severity": problem.severity,
        "source": problem.place.source,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": problem.path,
        "message": problem.what,
    }


def _as_annotation(problem: Problem) -> str:
    kind = "notice" if problem.severity == "note" else problem.severity
    place = problem.place
    position = f",line={place.line},col={place.column}" if place.line else ""
    message = f"{problem.path}: {problem.what}" if problem.path else problem.what
    return f"::{kind} file={_escape(place.source, ',:')}{position}::{_escape(message)}"


def _escape(text: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
