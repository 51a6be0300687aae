"""The file of tokens: a line for each person, which is read again when it has changed."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from lightbus.exceptions import ConfigurationError

logger = logging.getLogger(__name__)

#: A shorter one might be guessed.
LEAST = 20
_MOST_BYTES = 1_000_000


class Tokens:
    """The tokens of a file, of which each line is a name and a token; ``#`` begins a comment.

    Args:
        path: The file.

    Raises:
        ConfigurationError: It can't be read, or a line is wrong.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self._trouble = ""
        self._names = self._read()

    def name(self, token: str) -> str | None:
        """Return whose token it is."""
        return self.name_of(digest(token))

    def name_of(self, token_digest: bytes) -> str | None:
        """Return whose token it is, by its :func:`digest`."""
        self._refresh()
        return self._names.get(token_digest)

    def _refresh(self) -> None:
        """Read the file again if it is another one by now; with one that is wrong, nobody gets in."""
        try:
            if self._looks() == self._stamp:
                return
            self._names, self._trouble = self._read(), ""
        except (ConfigurationError, OSError) as e:
            if str(e) != self._trouble:
                logger.error("nobody gets into the console until this is mended: %s", e)
            self._names, self._stamp, self._trouble = {}, None, str(e)

    def _looks(self) -> tuple[int, int, int]:
        it = os.stat(self._path)
        return it.st_mtime_ns, it.st_size, it.st_ino

    def _read(self) -> dict[bytes, str]:
        try:
            self._stamp = self._looks()
            with self._path.open("rb") as file:
                text = file.read(_MOST_BYTES).decode()
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is no text"
            raise ConfigurationError(f"{self._path}: the tokens can't be read: {why}") from None
        found: dict[bytes, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            where = f"{self._path}:{number}"
            if len(words) != 2:
                raise ConfigurationError(f"{where}: must be a name and a token, with a space between them")
            name, token = words
            if len(token) < LEAST:
                raise ConfigurationError(
                    f"{where}: the token of {name} has fewer than {LEAST} characters and might be guessed; "
                    "make one with: openssl rand -hex 20"
                )
            if digest(token) in found:
                raise ConfigurationError(
                    f"{where}: {name} has the token of somebody else; give each their own"
                )
            found[digest(token)] = name
        return found


def digest(token: str) -> bytes:
    """Return by what a token is found, so that the time this takes tells nothing about those there are."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
