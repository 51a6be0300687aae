"""The results of calls as objects of the classes that somebody expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightbus.exceptions import ValidationError
from lightbus.values import tolerant_caster


def converter(hint: Any, procedure: str, otherwise: str) -> Callable[[Any], Any]:
    """Return what makes a result of JSON values; what its owner has added since is left out.

    Args:
        hint: The type hint of the result.
        procedure: Its procedure, with the name of the API.
        otherwise: Why a result may not fit and what to do then, as half a sentence.

    Returns:
        A function, which raises :class:`ValidationError` for a result that does not fit.
    """
    convert = tolerant_caster(hint)

    def cast(result: Any) -> Any:
        try:
            return convert(result)
        except ValidationError as e:
            raise ValidationError(f"the result of {procedure}: {e}; {otherwise}") from e

    return cast
