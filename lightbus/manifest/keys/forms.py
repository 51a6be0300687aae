"""The keys that a manifest may have, derived from the records of :mod:`.model` and their options."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from lightbus.declared.policy import DeliveryPolicy
from lightbus.declared.settings import (
    DatabaseAlias,
    EngineName,
    EventTransport,
    ResultTransport,
    RpcTransport,
    SchemaTransport,
    ValidateOptions,
)
from lightbus.manifest.model import Manifest
from lightbus.transports.port import Kind

from .installed import options_class, plugin_names, plugin_options, transport_names
from .scalars import Leaf, leaf_of

#: The types of lists that may be written as their one value.
_ALONE = (DatabaseAlias, EngineName)
_KINDS: dict[Any, Kind] = {
    RpcTransport: "rpc",
    EventTransport: "event",
    ResultTransport: "result",
    SchemaTransport: "schema",
}


@dataclass(frozen=True, slots=True)
class Leaves:
    """A list of values of one type.

    Args:
        item: The type.
        may_be_alone: Whether one value may stand for a list of it.
    """

    item: Leaf
    may_be_alone: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A map with known keys.

    Args:
        cls: The dataclass that holds them.
        toggle: Whether true or false may stand for all of them.
    """

    cls: type[Any]
    toggle: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """A map whose keys are names that the user gives, each with a map or with a list."""

    value: Block | Leaves


@dataclass(frozen=True, slots=True)
class OneOf:
    """A map of one transport's name to its options."""

    kind: Kind

    def names(self) -> tuple[str, ...]:
        """Return the names of the transports of the kind that are installed."""
        return transport_names(self.kind)

    def options(self, name: str) -> type[Any] | None:
        """Return the dataclass of a transport's options; None if it has none.

        Raises:
            TransportNotFound: It is not installed.
        """
        return options_class(self.kind, name)


@dataclass(frozen=True, slots=True)
class Plugins:
    """A map of plugins' names to their options."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the plugins that are installed."""
        return plugin_names()

    def options(self, name: str) -> type[Any] | None:
        """Return the dataclass of a plugin's options; None if it is not installed.

        Raises:
            ConfigurationError: It can't be imported, or its options can't be used.
        """
        return plugin_options(name)


@dataclass(frozen=True, slots=True)
class Nothing:
    """The options of a transport that has none."""


Form = Leaf | Leaves | Block | Named | OneOf | Plugins


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Args:
        name: The key.
        form: The form of its value.
        description: One line about it.
        default: The value where it is not given; ``MISSING`` where it must be.
        nullable: Whether null is a value of its own, other than the default.
        minimum: The least value, in the option's own unit.
        maximum: The greatest value.
        attribute: The field of the record that holds it.
    """

    name: str
    form: Form
    description: str
    default: Any
    nullable: bool
    minimum: float | None
    maximum: float | None
    attribute: str = ""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING


_KEYS: dict[type[Any], dict[str, Key]] = {}


def keys_of(cls: type[Any]) -> dict[str, Key]:
    """Return the keys that a dataclass of options stands for, in its order.

    Raises:
        TypeError: A field has a type that no manifest can hold.
    """
    if cls not in _KEYS:
        hints = get_type_hints(cls)
        keys = [_key(cls, f, hints[f.name]) for f in fields(cls) if "description" in f.metadata]
        _KEYS[cls] = {key.name: key for key in keys}
    return _KEYS[cls]


def _key(cls: type[Any], field: Field[Any], hint: Any) -> Key:
    optional = False
    if get_origin(hint) in (Union, types.UnionType) and leaf_of(hint) is None:
        members = [a for a in get_args(hint) if a is not type(None)]
        optional = len(members) < len(get_args(hint))
        hint = members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    form = _form(hint)
    if form is None:
        raise TypeError(f"{cls.__name__}.{field.name}: {hint} is no type of an option")
    metadata = field.metadata
    return Key(
        # A word of Python can be a key, but no field.
        field.name.rstrip("_"),
        form,
        metadata["description"],
        default,
        optional and default is not None,
        metadata.get("minimum"),
        metadata.get("maximum"),
        field.name,
    )


def _form(hint: Any) -> Form | None:
    if hint in _KINDS:
        return OneOf(_KINDS[hint])
    leaf = leaf_of(hint)
    if leaf is not None:
        return leaf
    if hint is ValidateOptions:
        return Block(hint, toggle=True)
    if is_dataclass(hint) and isinstance(hint, type) and hint is not DeliveryPolicy:
        return Block(hint)
    arguments = get_args(hint)
    if get_origin(hint) is tuple and len(arguments) == 2 and arguments[1] is ...:
        item = leaf_of(arguments[0])
        return Leaves(item, arguments[0] in _ALONE) if item else None
    if get_origin(hint) is Mapping:
        if arguments[1] is Any:
            return Plugins()
        value = _form(arguments[1])
        return Named(value) if isinstance(value, Block | Leaves) else None
    return None


#: The whole manifest.
ROOT = Block(Manifest)
