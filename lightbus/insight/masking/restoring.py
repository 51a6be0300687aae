"""What somebody has written who did not see what is hidden: that stays as it was."""

from __future__ import annotations

from typing import Any

from lightbus.exceptions import InvalidParameters
from lightbus.values.dumping import MAX_DEPTH

from .texts import MASK

_ABSENT = object()


def restore(edited: Any, shown: Any, original: Any) -> Any:
    """Put hidden values back where they were; they can't be moved to a place where they would be shown.

    Args:
        edited: The value as somebody has changed it.
        shown: The value as they saw it.
        original: The value as it is.

    Returns:
        The value as they meant it.

    Raises:
        InvalidParameters: A mask stands where nothing was hidden, or the value is too deep to be sent.
    """
    return _restore(edited, shown, original, ())


def _restore(edited: Any, shown: Any, original: Any, path: tuple[str, ...]) -> Any:
    if len(path) > MAX_DEPTH:
        raise InvalidParameters(f"the arguments are nested more than {MAX_DEPTH} deep, so they can't be sent")
    if isinstance(edited, str) and MASK in edited:
        if edited == shown == MASK:
            return original
        raise InvalidParameters(
            f"{_place(path)}: {MASK} stands for a hidden value, which can be kept where it is or replaced as "
            "a whole"
        )
    if isinstance(edited, dict):
        if any(MASK in name for name in edited):
            raise InvalidParameters(
                f"{_place(path)}: it has hidden names, so only those may change it who see them"
            )
        named, its = (each if isinstance(each, dict) else {} for each in (shown, original))
        return {
            name: _restore(each, named.get(name, _ABSENT), its.get(name), (*path, name))
            for name, each in edited.items()
        }
    if isinstance(edited, list):
        was = shown if isinstance(shown, list) else []
        if len(was) != len(edited) or not isinstance(original, list):
            # Whose is whose is not known any more.
            was, original = [_ABSENT] * len(edited), [None] * len(edited)
        return [
            _restore(each, before, its, (*path, str(i)))
            for i, (each, before, its) in enumerate(zip(edited, was, original, strict=True))
        ]
    return edited


def _place(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the arguments"
