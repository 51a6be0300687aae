"""The file of tokens: a line for each person, with their role, which is read again when it has changed."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection
from pathlib import Path

from lightbus.declared.names import advice
from lightbus.exceptions import ConfigurationError

from .rights import User

logger = logging.getLogger(__name__)

#: A shorter one might be guessed.
LEAST = 20
_MOST_BYTES = 1_000_000


class Tokens:
    """The tokens of a file, of which each line is a name, a token, and a role for those who have one.

    ``#`` begins a comment.

    Args:
        path: The file.
        roles: The roles that there are.

    Raises:
        ConfigurationError: It can't be read, or a line is wrong.
    """

    def __init__(self, path: str, roles: Collection[str] = ()) -> None:
        self._path = Path(path)
        self._roles = roles
        self._stamp: tuple[int, int, int] | None = None
        self._trouble = ""
        self._users = self._read()

    def user(self, token: str) -> User | None:
        """Return whose token it is."""
        return self.user_of(digest(token))

    def user_of(self, token_digest: bytes) -> User | None:
        """Return whose token it is, by its :func:`digest`."""
        self._refresh()
        return self._users.get(token_digest)

    def _refresh(self) -> None:
        """Read the file again if it is another one by now; with one that is wrong, nobody gets in."""
        try:
            if self._looks() == self._stamp:
                return
            self._users, self._trouble = self._read(), ""
        except (ConfigurationError, OSError) as e:
            if str(e) != self._trouble:
                logger.error("nobody gets into the console until this is mended: %s", e)
            self._users, self._stamp, self._trouble = {}, None, str(e)

    def _looks(self) -> tuple[int, int, int]:
        it = os.stat(self._path)
        return it.st_mtime_ns, it.st_size, it.st_ino

    def _read(self) -> dict[bytes, User]:
        try:
            self._stamp = self._looks()
            with self._path.open("rb") as file:
                text = file.read(_MOST_BYTES).decode()
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is no text"
            raise ConfigurationError(f"{self._path}: the tokens can't be read: {why}") from None
        found: dict[bytes, User] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            where = f"{self._path}:{number}"
            if len(words) not in (2, 3):
                raise ConfigurationError(
                    f"{where}: must be a name, a token and, for those who have one, a role, with spaces "
                    "between them"
                )
            name, token, *roles = words
            if roles and roles[0] not in self._roles:
                advice_ = advice(roles[0], self._roles, "there are")
                raise ConfigurationError(f"{where}: web.roles has no role {roles[0]!r} for {name}{advice_}")
            if len(token) < LEAST:
                raise ConfigurationError(
                    f"{where}: the token of {name} has fewer than {LEAST} characters and might be guessed; "
                    "make one with: openssl rand -hex 20"
                )
            if digest(token) in found:
                raise ConfigurationError(
                    f"{where}: {name} has the token of somebody else; give each their own"
                )
            found[digest(token)] = User(name, *roles)
        return found


def digest(token: str) -> bytes:
    """Return by what a token is found, so that the time this takes tells nothing about those there are."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
