"""The walk through a manifest: what stands at each key, and what lies below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, replace
from typing import Any

from lightbus.manifest.model import Manifest, Policy

from .forms import ROOT, Block, Key, Leaves, Named, Nothing, OneOf, Plugins, keys_of

_TOP = Key("", ROOT, "", MISSING, nullable=False, minimum=None, maximum=None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of a manifest: a key of it, or a name that the user gave.

    Args:
        path: The keys and names that lead here.
        key: The key that may stand here; a name has neither a description nor a default.
        value: The value that stands here; if there is none, the keys below have their defaults.
    """

    path: tuple[str, ...] = ()
    key: Key = _TOP
    value: Any = None

    @property
    def name(self) -> str:
        """The last of its keys and names."""
        return self.path[-1]

    @property
    def is_left_out(self) -> bool:
        """Whether it is a block that is not there unless it is given, and is not given."""
        return self.value is None and self.key.default is None and isinstance(self.key.form, Block)

    def below(self) -> Iterator[Entry]:
        """Go through what lies directly below; there is nothing below a scalar or a list."""
        form = self.key.form
        if isinstance(form, Block):
            for name, key in keys_of(form.cls).items():
                yield Entry((*self.path, name), key, _held(self.value, key))
        elif isinstance(form, OneOf):
            chosen = self.value
            yield self._named(chosen.name, Block(form.options(chosen.name) or Nothing), chosen.options)
        elif isinstance(form, Named):
            for name, value in self.value.items():
                yield self._named(name, form.value, value)
        elif isinstance(form, Plugins):
            for name, options in self.value.items():
                yield self._named(name, Block(type(options)), options)

    def _named(self, name: str, form: Block | Leaves, value: Any) -> Entry:
        key = replace(self.key, name=name, form=form, description="", default=MISSING)
        return Entry((*self.path, name), key, value)


def _held(value: Any, key: Key) -> Any:
    """Return what a record holds under a key, where two of its fields hold it together, too."""
    if isinstance(value, Manifest) and key.name == "apis":
        return {"default": value.default_api, **value.apis}
    if isinstance(value, Policy) and key.name == "give_up_on":
        return (*value.give_up_on, *value.give_up_on_names)
    return getattr(value, key.attribute, key.default)
