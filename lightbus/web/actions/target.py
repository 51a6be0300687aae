"""The group of a listener, as that to which something is done."""

from __future__ import annotations

from lightbus.web.asking import Asked
from lightbus.web.words import page_of

from .action import Field

#: The field with its name.
TARGET = Field(name="target", is_required=True)


def to_its_page(asked: Asked) -> str:
    """Return the address of its page, beneath the root of the console."""
    return page_of(asked.fields.text(TARGET.name))
