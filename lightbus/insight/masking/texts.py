"""Texts that may quote what is hidden: errors and tracebacks."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from .names import looks_secret

#: Stands for a value that is hidden.
MASK: Final = "•••"
#: So many letters and digits in a row that a text shares with a hidden value are taken for a part of it.
_SHARED: Final = 4
#: Texts are cut to so many letters; a longer hidden value is not looked for, and nothing is said instead.
_LONGEST: Final = 20_000
_LONGEST_VALUE: Final = 100_000
_ERROR_CLASS = re.compile(r"[A-Za-z_][\w.]*(?=\()")
_FRAME = re.compile(r'\s+File "[^"\n]*", line \d+, in [^\s]+')
_QUOTED = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d.,:_-]*(?:[eE][+-]?\d+)?")
_NAME = re.compile(r"""(?<![\w-])([A-Za-z][\w-]*)["']?\s*[=:]\s*""")
_VALUE = re.compile(r"""[bru]?"(?:[^"\\]|\\.)*"|[bru]?'(?:[^'\\]|\\.)*'|[^\s,;)}\]]+""")
_USER_OF_URL = re.compile(r"://[^/\s@]*@")
_SCHEME = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Hide what looks like a secret by its name or form, such as ``password='x'`` and users in URLs."""

    text = _SCHEME.sub(lambda found: f"{found[1]} {MASK}", text[:_LONGEST])
    text = _USER_OF_URL.sub(f"://{MASK}@", text)
    named = (found.end() for found in _NAME.finditer(text) if looks_secret(found[1]))
    values = (_VALUE.match(text, place) for place in named)
    return _without(text, [value.span() for value in values if value is not None])


def class_of(error: str) -> str:
    """Return the class of an error alone, from its ``repr()``."""
    found = _ERROR_CLASS.match(error)
    return f"{found[0]}({MASK})" if found else MASK if error else ""


def masked(text: str, hidden: Sequence[Any], shown: Iterable[str]) -> str:
    """Hide in a text what it may have from hidden values, in whatever form it quotes them.

    What shares four letters or digits in a row with one is hidden, and so is each number and each quoted text
    that is not known to be something else, since it may be made of a hidden value.

    Args:
        text: An error or a traceback.
        hidden: The values that are hidden.
        shown: The names and values that are shown beside it.
    """
    text = without_secrets(text)
    if not hidden or not text:
        return text
    leaves = [leaf for value in hidden for leaf in _leaves(value)]
    if any(isinstance(leaf, str) and len(leaf) > _LONGEST_VALUE for leaf in leaves):
        return class_of(text)
    spans = [*_unknown(text, frozenset(shown)), *_shared(text, leaves)]
    return _without(text, spans)


def _leaves(value: Any) -> Iterator[Any]:
    """Go through the single values, and the names, of a hidden value."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left.extend(each)
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)
        elif each is not None and each != "":
            yield each


def _unknown(text: str, shown: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Go through numbers and quoted texts that are nothing known; code in a traceback has none."""
    start, is_code = 0, False
    for line in text.splitlines(keepends=True):
        is_frame = _FRAME.fullmatch(line.rstrip("\n")) is not None
        if not is_frame and not (is_code and line.startswith("    ")):
            for found in (*_QUOTED.finditer(line), *_NUMBER.finditer(line)):
                quoted = found[0][1:-1] if found[0][0] in "'\"" else found[0]
                if quoted not in shown and MASK not in quoted:
                    inside = found[0] != quoted
                    yield start + found.start() + inside, start + found.end() - inside
        is_code = is_frame
        start += len(line)


def _shared(text: str, leaves: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Go through what a text shares with hidden values, whatever case, quotes or separators are there."""
    places = [i for i, char in enumerate(text) if char.isalnum()]
    letters = _letters(text)
    forms = {form for leaf in leaves for form in _forms(leaf)}
    wanted: set[str] = set()
    for form in forms:
        its = _letters(form)
        wanted.update(its[i : i + _SHARED] for i in range(len(its) - _SHARED + 1))
        if len(its) < _SHARED:
            yield from (found.span() for found in _short(form).finditer(text))
    for i in range(len(letters) - _SHARED + 1):
        if letters[i : i + _SHARED] in wanted:
            yield places[i], places[i + _SHARED - 1] + 1


def _letters(text: str) -> str:
    """Return the letters and digits of a text, each as one lower letter, so that places can be counted."""
    return "".join(char.lower()[:1] for char in text if char.isalnum())


def _forms(leaf: Any) -> set[str]:
    """Return the texts by which a value may be quoted."""
    forms = {str(leaf), json.dumps(leaf).strip('"')}
    if isinstance(leaf, str) and len(leaf) % 4 == 0:
        # Else it is no text in base64.
        with contextlib.suppress(binascii.Error, ValueError):
            forms.add(base64.b64decode(leaf, validate=True).decode())
    return forms - {""}


def _short(form: str) -> re.Pattern[str]:
    """Return what finds a text that is too short to be found in others: a word of its own."""
    escaped = re.escape(form)
    if form.isascii() and form[0].isalnum() and form[-1].isalnum():
        escaped = rf"(?<![^\W_]){escaped}(?![^\W_])"
    return re.compile(escaped, re.IGNORECASE)


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Put the mask in the place of each span; of those that touch, or have nothing to read between, once."""
    pieces: list[str] = []
    end = 0
    is_hidden = False
    for start, stop in sorted(spans):
        if stop <= end:
            continue
        between = text[end : max(start, end)]
        if not is_hidden or any(char.isalnum() for char in between) or "\n" in between or len(between) > 1:
            pieces += [between, MASK]
        end, is_hidden = stop, True
    return "".join([*pieces, text[end:]])
