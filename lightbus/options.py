"""How an option is declared: once, with its type, default and one line of description.

A room that has options keeps them in a frozen dataclass of its own, made of :func:`option` fields.
The manifest derives its validation, its JSON Schema and its reference from those dataclasses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Any, NewType

#: A length of time in seconds. In a manifest: ``500ms``, ``30s``, ``5m``, ``2h``, ``7d`` or a number.
Duration = NewType("Duration", float)
#: The name of a function as ``package.module:function``.
FunctionName = NewType("FunctionName", str)
#: A function: in code itself, in a manifest its name.
Function = FunctionName | Callable[..., Any]

_DURATION = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
HIDDEN = "***"


def option(
    default: Any = MISSING,
    description: str = "",
    *,
    factory: Any = MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare one option as a dataclass field.

    Args:
        default: The value where nothing is configured.
        description: One line that says what the option changes.
        factory: Makes the default, for values that are not constants.
        minimum: The least value allowed, in the option's own unit.
        maximum: The greatest value allowed.

    Returns:
        A dataclass field whose metadata holds the description and the bounds.
    """
    metadata = {"description": description, "minimum": minimum, "maximum": maximum}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def values_of(options: Any) -> dict[str, Any]:
    """Return the values of a record of options by name, to make another record that has them, too."""
    return {each.name: getattr(options, each.name) for each in fields(options)}


def parse_duration(value: object) -> Duration:
    """Read a duration as a manifest writes it.

    Args:
        value: A number of seconds, or text such as ``500ms``, ``30s``, ``5m``, ``2h``, ``7d``.

    Returns:
        The duration in seconds.

    Raises:
        ValueError: The value is not a duration, or is negative.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a duration")
    match = _DURATION.fullmatch(str(value))
    if match is None:
        raise ValueError("not a duration")
    return Duration(float(match[1]) * _UNITS[match[2]])


class Secret:
    """Text that must not be shown: it prints as ``***``; ``reveal()`` gives it to the code that needs it.

    Args:
        value: The text to keep.
        reread: Returns the text as it is by now, where it stands in a file; None if it can't be had.
    """

    __slots__ = ("_reread", "_value")

    def __init__(self, value: str, reread: Callable[[], str | None] | None = None) -> None:
        self._value = value
        self._reread = reread

    def reveal(self) -> str:
        """Return the text as it was first read; never log or format what this returns."""
        return self._value

    def current(self) -> str:
        """Return the text as it is by now; where it can't be read again, as it was first read."""
        text = self._reread() if self._reread is not None else None
        return self._value if text is None else text

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        # The same file is the same secret, whatever stands in it by now.
        return type(other) is type(self) and other._identity == self._identity

    def __hash__(self) -> int:
        return hash((type(self), self._identity))

    @property
    def _identity(self) -> object:
        return self._reread or self._value


class SecretUrl(Secret):
    """A URL whose userinfo and query prints as ``***``; scheme, host, port and path stay readable."""

    __slots__ = ()

    def __str__(self) -> str:
        # Cut by hand: a password with an unescaped #, / or ? would end the user part for urlsplit.
        scheme, slashes, rest = self._value.partition("://")
        if not slashes:
            return HIDDEN
        _, at, place = rest.rpartition("@")
        place = re.split(r"[?#]", place, maxsplit=1)[0]
        query = f"?{HIDDEN}" if "?" in rest.rpartition("@")[2] else ""
        return f"{scheme}://{HIDDEN}@{place}{query}" if at else f"{scheme}://{place}{query}"


def misread(url: str) -> str | None:
    """Say which character of a URL would make a part of its password something else; None for none.

    Python, like most who read URLs, takes what follows ``/``, ``?`` or ``#`` for the end of the host, drops
    tabs and line breaks, and says nothing: a part of the password is then looked up in DNS.

    Args:
        url: A URL, or what should be one.
    """
    if any(c.isspace() or not c.isprintable() for c in url):
        return "it has a space or a character that can't be seen; write %20 for a space"
    if "#" in url:
        return f"it has a #, which ends a URL; {ESCAPE}"
    _, _, rest = url.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    if "[" in user or "]" in user:
        return f"it has a bracket before its host; {ESCAPE}"
    if at and "@" in rest[len(authority) :]:
        return f"it has an @ after a / or ?, which end its host; {ESCAPE}"
    return None


#: The remedy for a password with such a character.
ESCAPE = (
    "in a password write %23 for #, %2F for /, %3F for ?, %40 for @, %5B and %5D for brackets, or give the "
    "password apart from the URL, as password"
)
