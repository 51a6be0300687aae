"""The keys as Cerberus rules, and what its errors mean in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lightbus.exceptions import ConfigurationError
from lightbus.manifest.problems import Problems, shown
from lightbus.manifest.text.nodes import Broken, Node, Untyped

from .forms import Block, Form, Key, Leaves, OneOf, keys_of
from .scalars import Leaf

try:
    from cerberus import TypeDefinition, Validator, errors  # type: ignore[import-untyped]
    from cerberus.schema import DefinitionSchema  # type: ignore[import-untyped]
except RuntimeError as e:
    raise ConfigurationError(
        "manifests can't be read by a Python that drops docstrings, since the package Cerberus needs its "
        "own: start it with -O instead of -OO, or with PYTHONOPTIMIZE=1"
    ) from e

#: How many mistakes are told of one map.
MOST_IN_ONE_MAP = 100

#: The rule of Cerberus for a map within a map: its own block checks it.
_MAP: Mapping[str, Any] = {}
_BROKEN = object()


class Rules(Validator):  # type: ignore[misc]
    """Cerberus with types that do not take True for 1."""

    types_mapping = {
        "text": TypeDefinition("text", (str,), ()),
        "boolean": TypeDefinition("boolean", (bool,), ()),
        "integer": TypeDefinition("integer", (int,), (bool,)),
        "number": TypeDefinition("number", (int, float), (bool,)),
        "list": TypeDefinition("list", (list,), ()),
        "map": TypeDefinition("map", (Mapping,), ()),
    }
    dropped = 0

    def _error(self, *args: Any) -> None:
        # Cerberus sorts all errors for each new one; a map of thousands of mistakes would take minutes.
        if len(self._errors) < MOST_IN_ONE_MAP:
            super()._error(*args)
        else:
            self.dropped += 1


def rule_of(key: Key) -> dict[str, Any]:
    """Return the Cerberus rule of one key."""
    form = key.form
    rule: dict[str, Any] = {"required": key.required, "nullable": key.nullable}
    if isinstance(form, Leaf):
        rule |= _leaf_rule(form)
        if key.minimum is not None:
            rule["min"] = key.minimum
        if key.maximum is not None:
            rule["max"] = key.maximum
    elif isinstance(form, Leaves):
        read = _listed if form.may_be_alone else _split
        rule |= {"type": "list", "coerce": read, "schema": _leaf_rule(form.item)}
    elif isinstance(form, Block) and form.toggle:
        rule |= {"type": ["boolean", "map"], "coerce": _truth}
    else:
        rule["type"] = "map"
    return rule


def _leaf_rule(leaf: Leaf) -> dict[str, Any]:
    rule: dict[str, Any] = {"type": leaf.kind, "coerce": leaf.read}
    return rule | {"allowed": list(leaf.choices)} if leaf.choices else rule


def _truth(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, Untyped) else value


def _split(value: Any) -> Any:
    """Read a list from text of the environment or a flag, where commas part its items."""
    if isinstance(value, Untyped):
        return [Untyped(part.strip()) for part in value.split(",") if part.strip()]
    return value


def _listed(value: Any) -> Any:
    """Read one value as a list of it."""
    value = _split(value)
    return [value] if isinstance(value, str) else value


_COMPILED: dict[type[Any], dict[str, Any]] = {}


def _compiled(cls: type[Any]) -> dict[str, Any]:
    if cls not in _COMPILED:
        rules = {name: rule_of(key) for name, key in keys_of(cls).items()}
        _COMPILED[cls] = dict(DefinitionSchema(Rules(), rules))
    return _COMPILED[cls]


def validate(cls: type[Any], node: Node, path: str, problems: Problems) -> dict[str, Any]:
    """Check one map against its block's keys, but not the maps within it.

    Args:
        cls: The dataclass whose keys it may have.
        node: The map.
        path: Its path.
        problems: Takes what is wrong.

    Returns:
        The valid values of its keys, read; those of maps within are left out.
    """
    return _valid(keys_of(cls), _compiled(cls), node, path, problems)


def validate_lists(key: Key, form: Leaves, node: Node, path: str, problems: Problems) -> dict[str, Any]:
    """Check one map whose keys are names that the user gave, each with a list.

    Args:
        key: The key of the map.
        form: That of each list.
        node: The map.
        path: Its path.
        problems: Takes what is wrong.

    Returns:
        The valid lists by their names, read.
    """
    keys = {name: replace(key, name=name, form=form) for name, _ in node.items()}
    rules = {name: rule_of(each) for name, each in keys.items()}
    return _valid(keys, dict(DefinitionSchema(Rules(), rules)), node, path, problems)


def _valid(
    keys: Mapping[str, Key], rules: Mapping[str, Any], node: Node, path: str, problems: Problems
) -> dict[str, Any]:
    document = {key: _raw(child) for key, child in node.items()}
    broken = {key for key, value in document.items() if value is _BROKEN}
    for key in broken:
        # It was told already; as absent it would be told again where it is required.
        del document[key]
    nulls = [k for k, v in document.items() if v is None and k in keys and not keys[k].nullable]
    for key in nulls:
        del document[key]
    # As the schema of a child it is taken as checked, instead of being checked again for every map.
    validator = Rules(rules, is_child=True)
    if not validator.validate(document):
        told = {(name,) for name in broken}
        for error in _flat(validator._errors):
            # A value that is no duration needs no word about its bounds, too.
            if error.document_path not in told and error.document_path[:1] not in told:
                told.add(error.document_path)
                _report(error, keys, node, path, problems)
    if validator.dropped:
        problems.add(node.place, path, f"and {validator.dropped:,} more mistakes in this map")
        return {}
    wrong = {error.document_path[0] for error in validator._errors}
    return {k: v for k, v in validator.document.items() if k not in wrong and not isinstance(v, Mapping)}


def _raw(node: Node) -> Any:
    value = node.value
    if isinstance(value, dict):
        return _MAP
    if isinstance(value, list):
        items = [_raw(item) for item in value]
        return _BROKEN if _BROKEN in items else items
    return _BROKEN if isinstance(value, Broken) else value


def _flat(found: Any) -> Iterator[Any]:
    for error in found:
        if error.child_errors:
            yield from _flat(error.child_errors)
        else:
            yield error


def _report(error: Any, keys: Mapping[str, Key], node: Node, path: str, problems: Problems) -> None:
    name, *index = error.document_path
    full = f"{path}.{name}" if path else str(name)
    if error.code == errors.UNKNOWN_FIELD.code:
        place = node.get(name)
        advice = "; << takes a map" if name == "<<" else problems.suggest(name, keys)
        problems.add(place.where if place else node.where, shown(full), f"unknown key{advice}")
        return
    if error.code == errors.REQUIRED_FIELD.code:
        problems.add(node.where, path, f"lacks the key {name}: {keys[name].description}")
        return
    at = node.get(name) or node
    if index and isinstance(at.value, list):
        at = at.value[index[0]]
        full += f"[{index[0]}]"
    problems.add(at.place, shown(full), _what(error.code, keys[name], at, bool(index)))


def _what(code: int, key: Key, node: Node, in_list: bool) -> str:
    form = key.form.item if in_list and isinstance(key.form, Leaves) else key.form
    if code == errors.MIN_VALUE.code:
        return f"must be at least {_bound(key, key.minimum)}"
    if code == errors.MAX_VALUE.code:
        return f"must be at most {_bound(key, key.maximum)}"
    what = f"must be {_says(form)}"
    if isinstance(form, Leaf) and form.explain is not None and isinstance(node.value, str):
        reason = form.explain(node.value)
        return f"{what}; {reason}" if reason else what
    if isinstance(form, Leaf) and form.secret:
        return what + (f", not {_kind(node)}" if not isinstance(node.value, str) else "")
    if isinstance(form, Leaf) and form.kind == "text" and isinstance(node.value, bool | int | float):
        return f"{what}, not {_seen(node)}; put it in quotes"
    if isinstance(form, Leaves) and isinstance(node.value, str):
        return f"{what}; put it in brackets"
    if not isinstance(form, Leaf | Leaves):
        return f"{what}, not {_kind(node)}"
    return f"{what}, not {_seen(node)}"


def _says(form: Form) -> str:
    if isinstance(form, Leaf):
        return form.says
    if isinstance(form, Leaves):
        return form.item.says if form.may_be_alone else "a list"
    if isinstance(form, Block):
        names = ", ".join(list(keys_of(form.cls))[:4])
        return f"{'true, false or ' if form.toggle else ''}a map with keys such as {names}"
    if isinstance(form, OneOf):
        return "a map of one transport's name to its options, such as {redis: {}}"
    return "a map of names"


def _bound(key: Key, bound: float | None) -> str:
    assert bound is not None  # noqa: S101 - Cerberus compared with it
    if isinstance(key.form, Leaf) and key.form.duration:
        return format_duration(bound)
    return f"{bound:,g}" if bound < 1_000_000 else f"{bound:,.0f}"


def _kind(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a map"
    if isinstance(node.value, list):
        return "a list"
    return {bool: "true or false", type(None): "nothing", int: "a number", float: "a number"}.get(
        type(node.value), "text"
    )


def _seen(node: Node) -> str:
    """Describe a wrong value, but repeat no text that may hold a secret."""
    value = node.value
    if isinstance(value, dict | list):
        return _kind(node)
    if node.hidden:
        return "what the file holds"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        secret = "://" in value or "@" in value or "password" in value.lower()
        return "this text" if secret else repr(shown(value))
    return str(value).lower()


def format_duration(seconds: float) -> str:
    """Return a duration as a manifest writes it, in the largest unit that divides it."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    milliseconds = round(seconds * 1000, 6)
    return f"{milliseconds:g}ms" if seconds else "0s"
