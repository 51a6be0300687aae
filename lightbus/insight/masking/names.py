"""Names of fields: those that look like secrets, and those that a manifest lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

#: Parts of names that are secrets wherever they stand: in ``dbPassword``, ``X-API-KEY`` and ``accesstoken``.
_PARTS = (
    "password", "passwd", "passphrase", "passwort", "secret", "token", "apikey", "accesskey", "privatekey",
    "signingkey", "encryptionkey", "authorization", "authorisation", "credential", "cardnumber", "cardno",
    "creditcard", "debitcard", "securitycode", "securitynumber", "socialsecurity", "passport", "sessionid",
    "sessionkey", "accountnumber", "sortcode", "taxid",
)  # fmt: skip
#: Words that are secrets by themselves, but may be parts of others.
_WORDS = frozenset({
    "pwd", "pass", "auth", "jwt", "bearer", "cookie", "cookies", "pin", "pins", "otp", "totp", "cvv", "cvv2",
    "cvc", "cvc2", "csc", "ssn", "iban", "pan", "pem",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|[^\W\d_]+\d*|\d+")
_NO_LETTER = re.compile(r"[\W_]+")
_POSITION = re.compile(r"\[(?:\*|\d*)\]")


@lru_cache(maxsize=4096)
def looks_secret(name: str) -> bool:
    """Tell whether a name looks like that of a secret, however it is written."""
    if any(part in folded(name) for part in _PARTS):
        return True
    return any(word.casefold() in _WORDS for word in (*_WORD.findall(name), *_NO_LETTER.split(name)))


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """Return a name without what writers differ in: case, underscores, hyphens."""
    return _NO_LETTER.sub("", name).casefold()


class Listed:
    """The fields that a manifest lists.

    Args:
        globs: Each is the name of a field wherever it is, such as ``email`` or ``*_email``; or a path with
            the event or procedure before ``kwargs`` or ``result``, such as ``shop.placed.kwargs.address.*``.
            ``*`` stands for anything, in a path for anything within one step. Items of a list have the path
            of the list.
    """

    def __init__(self, globs: Sequence[str] = ()) -> None:
        self._names: list[re.Pattern[str]] = []
        self._paths: list[tuple[re.Pattern[str], str, Path]] = []
        for glob in globs:
            steps = _POSITION.sub("", glob).split(".")
            part = next((i for i, step in enumerate(steps) if i and step in ("kwargs", "result")), None)
            if part is None:
                self._names.append(_pattern(steps[-1]))
            else:
                of = re.compile(_escaped(".".join(steps[:part])))
                self._paths.append((of, steps[part], tuple(map(_pattern, steps[part + 1 :]))))

    def has_name(self, name: str) -> bool:
        """Tell whether a name is listed by itself."""
        return any(pattern.fullmatch(folded(name)) for pattern in self._names)

    def paths(self, full_name: str, part: str) -> list[Path]:
        """Return the paths that are listed of a message.

        Args:
            full_name: The event or procedure, with its API.
            part: ``kwargs`` or ``result``.
        """
        return [path for of, its, path in self._paths if its == part and of.fullmatch(full_name)]


#: What the names of the steps to a field have to look like.
Path = tuple[re.Pattern[str], ...]


def deeper(paths: Sequence[Path], name: str) -> list[Path]:
    """Return the rest of those paths whose first step fits a name."""
    return [path[1:] for path in paths if path and path[0].fullmatch(folded(name))]


def _pattern(step: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, map(folded, step.split("*")))))


def _escaped(glob: str) -> str:
    return ".*".join(map(re.escape, glob.split("*")))
