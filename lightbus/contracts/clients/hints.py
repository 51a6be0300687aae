"""Schemas to type hints, and to the classes that these mention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec

from lightbus.contracts.printing import default_of
from lightbus.contracts.safety import follow
from lightbus.contracts.writing import CLASS, MEMBERS, SENSITIVE

from .names import Names, camel, is_word
from .scalars import is_of, scalar_hint, scalar_text
from .texts import FieldText, dataclass_text, enum_text, typed_dict_text

#: How values that travel as JSON objects look in Python.
Form = Literal["dataclass", "typeddict"]
#: A class that is imported: the module and its name there, by API and title.
Mapped = Mapping[tuple[str, str], tuple[str, str]]

_KEY_PATTERN: Final = r"^-?\d+$"
_WIDEST: Final = 500
#: The keywords of a schema that say nothing of its type.
_NO_TYPE: Final = frozenset({"default", "title", "description", SENSITIVE})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a schema stands.

    Args:
        api: The API.
        root: The complete schema that it is part of.
        title: The name of its class, where it has none itself.
    """

    api: str
    root: dict[str, Any]
    title: str = "Object"


class Hints:
    """Writes hints, and each class that they mention once.

    Args:
        form: How JSON objects look in Python.
        names: Gives names.
        mapped: Classes to import instead of writing them.
    """

    def __init__(self, form: Form, names: Names, mapped: Mapped) -> None:
        self.classes: list[str] = []
        self._rich = form == "dataclass"
        self._names = names
        self._mapped = mapped
        self._made: dict[tuple[str, bytes], str] = {}
        self._dataclasses: dict[str, dict[str, Any]] = {}
        self._members: dict[str, list[tuple[str, Any]]] = {}
        self._open: list[str] = []

    def of(self, schema: Any, place: Place, *, sent: bool = False) -> str:
        """Return the hint of a schema.

        Args:
            schema: The schema.
            place: Where it stands.
            sent: Whether the value is an argument itself, not in an object: text may be what it stands for.
        """
        if not isinstance(schema, dict):
            return self._typing("Any") if schema is not False else self._typing("Never")
        hint = self._of(schema, place, sent)
        if not schema.get(SENSITIVE):
            return hint
        return f"{self._typing('Annotated')}[{hint}, {self._names.imported('lightbus', 'Sensitive')}]"

    def _of(self, schema: dict[str, Any], place: Place, sent: bool) -> str:
        if isinstance(schema.get("$ref"), str):
            return self._of_reference(schema["$ref"], place, sent)
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if alternatives:
            return self._union(self.of(each, place, sent=sent) for each in alternatives)
        if isinstance(schema.get("allOf"), list):
            return self.of(schema["allOf"][0], place, sent=sent) if len(schema["allOf"]) == 1 else self._any
        if "enum" in schema or "const" in schema:
            return self._choice(schema, place)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union(self._of({**schema, "type": each}, place, sent) for each in kind)
        if kind == "array":
            return self._array(schema, place, sent)
        if kind == "object" or "properties" in schema:
            return self._object(schema, place, sent)
        hint = scalar_hint(schema, self._names, rich=self._rich)
        if sent and not self._rich:
            hint = self._union([scalar_hint(schema, self._names, rich=True), hint])
        return hint

    def shown_default(self, schema: Any) -> str | None:
        """Return the default that a schema notes as a reader of a signature expects it; None for ``...``."""
        has_default, value = default_of(schema)
        if not has_default or not isinstance(schema, dict):
            return None
        if not schema.keys() - _NO_TYPE:
            return repr(value) if value is None or type(value) in (str, int, bool) else None
        for branch in schema.get("anyOf") or [schema]:
            if isinstance(branch, dict) and "enum" not in branch and is_of(value, branch):
                text = scalar_text(value, branch, self._names, rich=False)
                is_plain = scalar_hint(branch, self._names, rich=False) == scalar_hint(
                    branch, self._names, rich=self._rich
                )
                if text is not None and (is_plain or not isinstance(value, str)):
                    return text
        return None

    @property
    def not_required(self) -> str:
        """The name of ``NotRequired``."""
        return self._typing("NotRequired")

    @property
    def _any(self) -> str:
        return self._typing("Any")

    def _typing(self, name: str) -> str:
        return self._names.imported("typing", name)

    def _builtin(self, name: str) -> str:
        return self._names.imported("builtins", name)

    def _union(self, hints: Any) -> str:
        parts = dict.fromkeys(part for hint in hints for part in _alternatives(hint))
        if self._any in parts:
            return self._any
        # Whoever reads it expects None at the end.
        return " | ".join([*(p for p in parts if p != "None"), *(p for p in parts if p == "None")])

    def _of_reference(self, reference: str, place: Place, sent: bool) -> str:
        target = follow(place.root, reference)
        if _is_class(target):
            named = {"title": reference.rpartition("/")[2], **target}
            return self._object(named, place, sent)
        if reference in self._open:
            # A list of itself and the like: a hint can't say that in every supported version of Python.
            return self._any
        self._open.append(reference)
        hint = self.of(target, place, sent=sent)
        self._open.pop()
        return hint

    def _choice(self, schema: dict[str, Any], place: Place) -> str:
        allowed = schema.get("enum", [schema.get("const")])
        title = _title(schema, "")
        if title and self._rich:
            known = self._imported(title, place)
            if known is not None:
                return known
            members = _members(schema, allowed)
            if members:
                return self._enum(title, members, place)
        if all(type(value) in (str, int, bool, type(None)) for value in allowed) and allowed:
            values = dict.fromkeys(map(repr, allowed))
            text = f"{self._typing('Literal')}[{', '.join(values)}]"
            if len(text) <= _WIDEST:
                return text
        kinds = {str: "str", int: "int", bool: "bool", float: "float"}
        found = {kinds.get(type(v), "None" if v is None else "Any") for v in allowed}
        return self._union(
            self._any if k == "Any" else k if k == "None" else self._builtin(k) for k in sorted(found)
        )

    def _enum(self, title: str, members: list[tuple[str, Any]], place: Place) -> str:
        # Its description is that of a parameter.
        key = (place.api, msgspec.json.encode(["enum", title, members], order="sorted"))
        name = self._made.get(key)
        if name is None:
            name = self._made[key] = self._names.new(camel(place.api) + _class_word(title))
            self._members[name] = members
            self.classes.append(enum_text(name, self._names.imported("enum", "Enum"), members))
        return name

    def _array(self, schema: dict[str, Any], place: Place, sent: bool) -> str:
        items = schema.get("items")
        if isinstance(items, list):
            hints = [self.of(item, place, sent=sent) for item in items]
            is_fixed = schema.get("minItems") == schema.get("maxItems") == len(items)
            if is_fixed and (self._rich or sent):
                return f"{self._builtin('tuple')}[{', '.join(hints)}]"
            return f"{self._builtin('list')}[{self._union(hints) if is_fixed else self._any}]"
        if schema.get("maxItems") == 0 and items is None and self._rich:
            return f"{self._builtin('tuple')}[()]"
        return f"{self._builtin('list')}[{self.of(items, place, sent=sent)}]"

    def _object(self, schema: dict[str, Any], place: Place, sent: bool) -> str:
        if _is_class(schema):
            title = _title(schema, place.title)
            return self._imported(title, place) or self._class(title, schema, place)
        item = schema.get("additionalProperties")
        key, hint = self._key(schema.get("propertyNames"), place), self.of(item, place, sent=sent)
        return f"{self._builtin('dict')}[{key}, {hint}]"

    def _imported(self, title: str, place: Place) -> str | None:
        known = self._mapped.get((place.api, title)) if self._rich else None
        return f"{self._names.imported_last(known[0])}.{known[1]}" if known is not None else None

    def _key(self, names: Any, place: Place) -> str:
        if not self._rich or not isinstance(names, dict) or not names:
            return self._builtin("str")
        if names.get("pattern") == _KEY_PATTERN:
            return self._builtin("int")
        return self._choice(names, place) if "enum" in names else self.of({"type": "string", **names}, place)

    def _class(self, title: str, schema: dict[str, Any], place: Place) -> str:
        properties, required = schema["properties"], schema.get("required", ())
        written = msgspec.json.encode([title, properties, required], order="sorted")
        if b"$ref" in written:
            written += msgspec.json.encode(_reached(properties, place.root), order="sorted")
        key = (place.api, written)
        if key in self._made:
            return self._made[key]
        # Known before its fields, which may mention it.
        name = self._made[key] = self._names.new(camel(place.api) + _class_word(title))
        fields = [FieldText(n, self.of(inner, place), n in required) for n, inner in properties.items()]
        complete = self._with_defaults(fields, properties, place) if self._rich else None
        if complete is not None:
            self._dataclasses[name] = properties
            decorator = self._names.imported("dataclasses", "dataclass")
            self.classes.append(dataclass_text(name, decorator, complete))
        else:
            base, is_total = self._typing("TypedDict"), all(field.is_required for field in fields)
            self.classes.append(typed_dict_text(name, base, "" if is_total else self.not_required, fields))
        return name

    def _with_defaults(
        self, fields: list[FieldText], properties: dict[str, Any], place: Place
    ) -> list[FieldText] | None:
        """Return the fields of a dataclass; None if one has no default where it needs it, or no good name."""
        count, complete = self._names.count(), []
        for field in fields:
            default = None if field.is_required else self._default(properties[field.name], place)
            if not is_word(field.name) or field.name.startswith("__"):
                default = None
            elif field.is_required or default is not None:
                complete.append(replace(field, default=default))
                continue
            self._names.forget_after(count)
            return None
        return complete

    def _default(self, schema: Any, place: Place) -> str | None:
        """Return the default of a dataclass's field; None if there is none, or no expression makes it."""
        has_default, value = default_of(schema)
        made = self._value(value, schema, place) if has_default else None
        if made is None or made == "()" or not isinstance(value, list | dict):
            return made
        field = self._names.imported("dataclasses", "field")
        factory = {"[]": "list", "{}": "dict"}.get(made)
        return f"{field}(default_factory={self._builtin(factory) if factory else f'lambda: {made}'})"

    def _value(self, value: Any, schema: Any, place: Place) -> str | None:
        if not isinstance(schema, dict) or not schema.keys() - _NO_TYPE:
            return (
                repr(value) if value is None or type(value) in (str, int, bool) or value in ([], {}) else None
            )
        if isinstance(schema.get("$ref"), str):
            return self._value(value, follow(place.root, schema["$ref"]), place)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if branches:
            found = (self._value(value, branch, place) for branch in branches)
            return next((text for text in found if text is not None), None)
        if "enum" in schema or "const" in schema:
            return self._chosen(value, schema, place)
        kind = schema.get("type")
        if kind == "array" and isinstance(value, list):
            items = schema.get("items")
            if isinstance(items, list) or schema.get("maxItems") == 0:
                return "()" if not value and schema.get("maxItems") == 0 and items is None else None
            parts = [self._value(each, items, place) for each in value]
            return f"[{', '.join(p for p in parts if p is not None)}]" if None not in parts else None
        if kind == "object" and isinstance(value, dict):
            return self._object_value(value, schema, place)
        return scalar_text(value, schema, self._names, rich=True)

    def _object_value(self, value: dict[str, Any], schema: dict[str, Any], place: Place) -> str | None:
        if not _is_class(schema):
            return "{}" if not value else None
        name = self._object(schema, place, False)
        properties = self._dataclasses.get(name, {})
        if not value.keys() <= properties.keys():
            return None
        parts = {n: self._value(each, properties[n], place) for n, each in value.items()}
        return (
            None if None in parts.values() else f"{name}({', '.join(f'{n}={p}' for n, p in parts.items())})"
        )

    def _chosen(self, value: Any, schema: dict[str, Any], place: Place) -> str | None:
        name = self._choice(schema, place)
        for member, sent in self._members.get(name, ()):
            if sent == value and type(sent) is type(value):
                return f"{name}.{member}"
        allowed = schema.get("enum", [schema.get("const")])
        is_literal = name not in self._members and "Literal[" in name
        return repr(value) if is_literal and value in allowed else None


def _is_class(schema: Any) -> bool:
    return isinstance(schema, dict) and isinstance(schema.get("properties"), dict)


def _alternatives(hint: str) -> Iterator[str]:
    """Split a union where no bracket or quote is open."""
    depth, start, quote = 0, 0, ""
    for at, char in enumerate(hint):
        if quote:
            quote = "" if char == quote and hint[at - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in "[(":
            depth += 1
        elif char in "])":
            depth -= 1
        elif char == "|" and depth == 0:
            yield hint[start:at].strip()
            start = at + 1
    yield hint[start:].strip()


def _title(schema: dict[str, Any], fallback: str) -> str:
    """Return the name of the class that a schema is of; the title of a message is none."""
    for title in (schema.get(CLASS), schema.get("title")):
        if isinstance(title, str) and title and not title.startswith(("RPC ", "Event ")):
            return title
    return fallback


def _class_word(title: str) -> str:
    return camel(title)[:80] or "Object"


def _members(schema: dict[str, Any], allowed: list[Any]) -> list[tuple[str, Any]]:
    """Return the members of an enum; none if it can't be written as one."""
    names = schema.get(MEMBERS)
    if not isinstance(names, list) or len(names) != len(allowed):
        names = [str(value).upper() if isinstance(value, str) else f"VALUE_{value}" for value in allowed]
        names = ["".join(c if c.isalnum() else "_" for c in name) for name in names]
    wrong = any(
        not isinstance(n, str) or not is_word(n) or n.startswith("_") or n in ("mro", "name", "value")
        for n in names
    )
    is_plain = all(type(value) in (str, int, float, bool, type(None)) for value in allowed)
    return (
        []
        if wrong or not is_plain or len(set(names)) < len(names)
        else list(zip(names, allowed, strict=True))
    )


def _reached(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Return what the references in a schema lead to, and those in there, by reference."""
    found: dict[str, Any] = {}
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str) and reference not in found:
                found[reference] = follow(root, reference)
                left.append(found[reference])
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)
    return found
