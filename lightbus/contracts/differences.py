"""The differences between two schemas: what does the new one refuse or accept that the old one didn't?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .printing import default_of, type_text
from .safety import follow
from .writing import TYPE_NAMES

#: Keywords that do not change which values fit; nor do those that begin with ``x-``.
_NOTES: Final = frozenset(
    {"$schema", "$comment", "title", "description", "default", "examples", "definitions", "deprecated"}
    | {"readOnly", "writeOnly", "contentEncoding", "contentMediaType"}
)
#: The formats that count. Any other is a note, which no contract of Lightbus 1.x has.
_FORMATS: Final = frozenset({"date-time", "date", "time", "duration"})
_SHOWN: Final = 120
_ORDERED: Final = frozenset(
    f"{most}{of}" for most in ("min", "max") for of in ("imum", "Length", "Items", "Properties")
) | {"exclusiveMinimum", "exclusiveMaximum"}
_SHAPE: Final = frozenset({"type", "enum", "properties", "required", "additionalProperties", "items"})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two schemas.

    Args:
        path: The place, such as ``parameters.order.lines[].qty``.
        what: The difference in words.
        narrows: Whether the new schema refuses something that the old one accepts.
        widens: Whether it accepts something that the old one refuses.
    """

    path: str
    what: str
    narrows: bool = False
    widens: bool = False


class Differ:
    """Compares two complete schemas."""

    def __init__(self, old: Any, new: Any) -> None:
        self._old, self._new = old, new
        self._found: list[Change] = []
        self._compared: set[tuple[str, str]] = set()
        self._open: set[tuple[int, int]] = set()

    def changes(self, path: str) -> list[Change]:
        """Return the differences.

        Returns:
            The differences, in the order of the schemas.
        """
        self._compare(self._old, self._new, path)
        return self._found

    def _note(self, path: str, what: str, *, narrows: bool = False, widens: bool = False) -> None:
        self._found.append(Change(path, what, narrows, widens))

    def _compare(self, old: Any, new: Any, path: str) -> None:
        """Compare two schemas, each pair of references once, and none within itself."""
        if _is_reference(old) or _is_reference(new):
            references = (repr(old), repr(new))
            if references in self._compared:
                return
            self._compared.add(references)
        pair = (id(old), id(new))
        if pair not in self._open:
            self._open.add(pair)
            self._compare_alternatives(old, new, path)
            self._open.discard(pair)

    def _compare_alternatives(self, old: Any, new: Any, path: str) -> None:
        before, after = alternatives(old, self._old), alternatives(new, self._new)
        if not before and not after:
            return
        if {} in before or {} in after:
            if {} not in after:
                self._note(path, f"may no longer be anything, only {self._text_new(new)}", narrows=True)
            elif {} not in before:
                self._note(path, f"was {self._text_old(old)}, and may be anything now", widens=True)
            return
        kinds_before, kinds_after = _kinds(before), _kinds(after)
        if kinds_before.isdisjoint(kinds_after) and {*kinds_before, *kinds_after} != {"integer", "number"}:
            what = f"{self._text_old(old)} becomes {self._text_new(new)}"
            self._note(path, what, narrows=bool(before), widens=bool(after))
            return
        for kind in [k for k in TYPE_NAMES.values() if k in kinds_before | kinds_after]:
            self._compare_kind(
                kind, [a for a in before if a["type"] == kind], [a for a in after if a["type"] == kind],
                kinds_before, kinds_after, path,
            )  # fmt: skip

    def _compare_kind(
        self, kind: str, before: list[Any], after: list[Any], was: set[str], now: set[str], path: str
    ) -> None:
        """Compare those alternatives of both sides that are of one JSON type."""
        if kind == "integer" and not after and "number" in now:
            self._note(path, "int becomes float", widens="number" not in was)
        elif kind == "integer" and not before and "number" in was:
            if "number" not in now:
                self._note(path, "float becomes int", narrows=True)
        elif kind == "number" and not (before and after) and (was | now) >= {"integer", "number"}:
            if "integer" in was and "integer" in now:
                what = "may be a float now" if after else "may no longer be a float"
                self._note(path, what, narrows=not after, widens=bool(after))
        else:
            self._pair(before, after, path)

    def _pair(self, before: list[Any], after: list[Any], path: str) -> None:
        """Compare alternatives of one type: the only ones with each other, several by their titles."""
        if len(before) == len(after) == 1:
            self._compare_same(before[0], after[0], path)
            return
        left, unpaired = list(after), []
        for old in before:
            # A Lightbus of before, or 1.x, gives an enum no title.
            same = next((a for a in left if _rules_of(a) == _rules_of(old)), None)
            if same is None:
                unpaired.append(old)
            else:
                left.remove(same)
        for old in unpaired:
            found = next((a for a in left if _name(a) == _name(old)), None)
            if found is None:
                self._note(path, f"may no longer be {self._text_old(old)}", narrows=True)
            else:
                left.remove(found)
                self._compare_same(old, found, path)
        for new in left:
            self._note(path, f"may also be {self._text_new(new)} now", widens=True)

    def _compare_same(self, old: dict[str, Any], new: dict[str, Any], path: str) -> None:
        """Compare two schemas of one type."""
        self._compare_enum(old.get("enum"), new.get("enum"), path)
        for rule in sorted({*_rules_of(old), *_rules_of(new)} - _SHAPE):
            self._compare_rule(rule, _rule_of(old, rule), _rule_of(new, rule), path)
        if old["type"] == "array":
            self._compare_items(old.get("items", True), new.get("items", True), path)
        if old["type"] == "object":
            self._compare_objects(old, new, path)

    def _compare_enum(self, old: list[Any] | None, new: list[Any] | None, path: str) -> None:
        if old is None and new is None:
            return
        if old is None or new is None:
            values = ", ".join(repr(v) for v in (new or old or [])[:12])
            what = f"only allows {values} now" if old is None else f"is no longer limited to {values}"
            self._note(path, what, narrows=old is None, widens=new is None)
            return
        for value in old:
            if value not in new:
                self._note(path, f"no longer allows {value!r}", narrows=True)
        for value in new:
            if value not in old:
                self._note(path, f"also allows {value!r} now", widens=True)

    def _compare_rule(self, rule: str, old: Any, new: Any, path: str) -> None:
        if old == new:
            return
        narrows, widens = new is not None, old is not None
        if narrows and widens and rule in _ORDERED:
            narrows = new < old if "max" in rule.lower() else new > old
            widens = not narrows
        elif narrows and widens and rule == "multipleOf":
            narrows, widens = old % new != 0, new % old != 0
        if rule == "format" and None in (old, new):
            texts = [type_text({"type": "string", "format": form}, {}) for form in (old, new)]
            what = " becomes ".join(texts)
        else:
            what = _rule_words(rule, old, new)
        self._note(path, what, narrows=narrows, widens=widens)

    def _compare_items(self, old: Any, new: Any, path: str) -> None:
        if not isinstance(old, list) and not isinstance(new, list):
            self._compare(old, new, f"{path}[]")
            return
        places = max(len(items) for items in (old, new) if isinstance(items, list))
        for i in range(places):
            before = old if not isinstance(old, list) else old[i] if i < len(old) else None
            after = new if not isinstance(new, list) else new[i] if i < len(new) else None
            if before is not None and after is not None:
                self._compare(before, after, f"{path}[{i}]")

    def _compare_objects(self, old: dict[str, Any], new: dict[str, Any], path: str) -> None:
        before, after = old.get("properties", {}), new.get("properties", {})
        others_before = old.get("additionalProperties", True)
        others_after = new.get("additionalProperties", True)
        needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
        for name in [*before, *(n for n in after if n not in before)]:
            place = f"{path}.{name}"
            was, now = name in needed_before, name in needed_after
            if name not in after:
                refused = others_after is False
                self._note(place, "is gone", narrows=refused, widens=was and not now)
                if not refused:
                    self._compare(before[name], others_after, place)
            elif name not in before:
                what = "is new, and required" if now else "is new, and optional"
                self._note(place, what, narrows=now, widens=others_before is False)
                if others_before is not False:
                    self._compare(others_before, after[name], place)
            else:
                self._compare(before[name], after[name], place)
                self._compare_need(was, now, before[name], after[name], place)
        self._compare_others(others_before, others_after, path)

    def _compare_need(self, was: bool, now: bool, old: Any, new: Any, path: str) -> None:
        if was != now:
            self._note(path, "is required now" if now else "is optional now", narrows=now, widens=was)
        elif default_of(old) != default_of(new):
            (had, before), (has, after) = default_of(old), default_of(new)
            words = f"{before!r}" if had else "none", f"{after!r}" if has else "none"
            self._note(path, f"its default changes from {words[0][:60]} to {words[1][:60]}")

    def _compare_others(self, old: Any, new: Any, path: str) -> None:
        if old is False and new is False:
            return
        if old is False:
            self._note(path, "further names are allowed now", widens=True)
        elif new is False:
            self._note(path, "further names are no longer allowed", narrows=True)
        else:
            self._compare(old, new, f"{path}.*")

    def _text_old(self, schema: Any) -> str:
        return type_text(schema, self._old)[:_SHOWN]

    def _text_new(self, schema: Any) -> str:
        return type_text(schema, self._new)[:_SHOWN]


def alternatives(schema: Any, root: Mapping[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """Split a schema into alternatives of one JSON type each.

    Args:
        schema: The schema.
        root: The complete schema that it is part of.
        depth: The number of references that led here.

    Returns:
        Schemas with a ``type`` each; ``{}`` stands for anything, no schema at all for nothing.
    """
    if schema is False or depth > 50:
        return []
    if not isinstance(schema, dict):
        return [{}]
    if _is_reference(schema):
        return alternatives(follow(dict(root), schema["$ref"]), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema and (key != "allOf" or len(schema[key]) == 1):
            rest = {k: v for k, v in _rules_of(schema).items() if k != key}
            parts = [a for option in schema[key] for a in alternatives(option, root, depth + 1)]
            return _both(parts, alternatives(rest, root, depth + 1)) if rest else parts
    rules = _rules_of(schema) | {k: v for k, v in schema.items() if k == "title"}
    if "const" in rules:
        rules["enum"] = [rules.pop("const")]
    if "enum" in rules and "type" not in rules:
        kinds = dict.fromkeys(TYPE_NAMES[type(v)] for v in rules["enum"])
        return [
            {**rules, "type": k, "enum": [v for v in rules["enum"] if TYPE_NAMES[type(v)] == k]}
            for k in kinds
        ]
    if not rules.keys() - {"title"}:
        return [{}]
    kind = rules.get("type", list(TYPE_NAMES.values()))
    return [{**rules, "type": k} for k in ([kind] if isinstance(kind, str) else kind)]


def _both(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the alternatives that are among both."""
    return [
        {**other, **one}
        for one in some
        for other in others
        if not (one and other) or one["type"] == other["type"]
    ]


def _rules_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords that change which values fit."""
    return {
        key: value
        for key, value in schema.items()
        if not (key in _NOTES or key.startswith("x-") or (key == "format" and value not in _FORMATS))
    }


def _rule_of(schema: dict[str, Any], rule: str) -> Any:
    """Return what a keyword says, but for the notes in it; None for nothing."""
    found = schema.get(rule)
    return _rules_of(found) or None if rule == "propertyNames" and isinstance(found, dict) else found


def _is_reference(schema: Any) -> bool:
    return isinstance(schema, dict) and isinstance(schema.get("$ref"), str)


def _kinds(schemas: list[dict[str, Any]]) -> set[str]:
    return {schema["type"] for schema in schemas}


def _name(schema: dict[str, Any]) -> str:
    """Return the name by which two alternatives of one type are the same one."""
    return str(schema.get("title") or type_text(schema, {}))


def _rule_words(rule: str, old: Any, new: Any) -> str:
    if old is None:
        return f"has the new rule {rule} {str(new)[:60]}"
    if new is None:
        return f"no longer has the rule {rule} {str(old)[:60]}"
    return f"{rule} changes from {str(old)[:60]} to {str(new)[:60]}"
