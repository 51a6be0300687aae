"""Values that know where they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lightbus.manifest.problems import Place
from lightbus.options import HIDDEN, Secret

Scalar = str | int | float | bool | None


class Untyped(str):
    """Text that takes the type of its key: from ``${...}``, the environment or ``--set``."""

    __slots__ = ()


class Broken(Untyped):
    """Stands for a value that could not be had, of which a problem tells already."""

    __slots__ = ()


class HiddenText(str):
    """Text from ``${file:}`` in an option that is no secret by itself: it works, but its repr hides it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a manifest.

    Args:
        value: A scalar, or the nodes within a list or a map.
        place: The place of the value.
        key: The place of its key, for a value in a map.
        hidden: Whether it came from a file that ``${file:}`` names, so must not be shown.
        literal: Whether ``${`` in it means nothing, as in flags and the environment.
        reread: Returns the value of a hidden one as it is by now; None if it can't be had.
        written: The text before ``${...}`` in it was replaced; None if there was none.
    """

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    key: Place | None = None
    hidden: bool = False
    literal: bool = False
    reread: Callable[[], str | None] | None = None
    written: str | None = None

    @property
    def where(self) -> Place:
        """The place to point at when the key is the mistake."""
        return self.key or self.place

    @property
    def is_hidden(self) -> bool:
        """Whether it, or an item of it, must not be shown."""
        return self.hidden or (isinstance(self.value, list) and any(item.hidden for item in self.value))

    def get(self, key: str) -> Node | None:
        """Return the node of a key; None if this is no map or lacks the key."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """Go through a map without the keys that belong to the user."""
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                if not key.startswith("x-"):
                    yield key, node

    def find(self, path: str) -> Node | None:
        """Return the node at a path whose keys, some of which have dots themselves, are joined by dots."""
        if not path:
            return self
        parts = path.split(".")
        for end in range(len(parts), 0, -1):
            child = self.get(".".join(parts[:end]))
            found = child.find(".".join(parts[end:])) if child else None
            if found is not None:
                return found
        return None


def from_python(value: object, place: Place, depth: int = 0) -> Node:
    """Return what a dict of Python values means as a manifest.

    Args:
        value: Maps, lists and scalars; anything else becomes its text.
        place: Their place.
        depth: How deep the value lies.

    Raises:
        ValueError: It is nested deeper than 64 levels.
    """
    if depth > 64:
        raise ValueError("nested deeper than 64 levels")
    if isinstance(value, Mapping):
        children = {str(k): from_python(v, place, depth + 1) for k, v in value.items()}
        return Node(children, place, place, literal=True)
    if isinstance(value, list | tuple | set | frozenset):
        return Node([from_python(v, place, depth + 1) for v in value], place, place, literal=True)
    if isinstance(value, Secret):
        return Node(value.reveal(), place, place, hidden=True, literal=True)
    scalar = value if isinstance(value, str | int | float | bool | None) else str(value)
    return Node(scalar, place, place, literal=True)
