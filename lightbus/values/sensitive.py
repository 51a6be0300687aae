"""The mark of values that are shown to nobody who has no need to see them."""

from __future__ import annotations

from typing import Any


class Sensitive:
    """Marks a value that consoles and exports hide, as in ``Annotated[str, Sensitive]``.

    It may stand at any hint: of a parameter, a result, a field of a class, the items of a list. The contract
    then has ``x-sensitive: true`` there. It changes nothing of what is sent, and who can read the bus can
    read the value.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Mark the schema of a field of a pydantic model, which pydantic itself writes."""
        return {**handler(core_schema), "x-sensitive": True}


def is_mark(note: object) -> bool:
    """Tell whether a note of ``Annotated`` is this mark, written as the class or as an object of it."""
    return isinstance(note, Sensitive) or (isinstance(note, type) and issubclass(note, Sensitive))
