"""JSON Schema of a manifest, for editors, from the definitions that validation uses."""

from __future__ import annotations

import json
from dataclasses import MISSING
from typing import Any

from lightbus.exceptions import ConfigurationError
from lightbus.manifest.keys.forms import ROOT, Block, Form, Key, Leaves, Named, OneOf, keys_of
from lightbus.manifest.keys.installed import plugin_options
from lightbus.manifest.keys.scalars import Leaf, name_pattern
from lightbus.manifest.problems import shown
from lightbus.manifest.text.yaml import plain_scalar
from lightbus.plugins import PluginOptions

from .yaml_text import yaml_value

_EXPRESSION = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> str:
    """Return the JSON Schema of a manifest as text, installed transports and plugins included."""
    return json.dumps(_Schema().document(), indent=2, ensure_ascii=False) + "\n"


class _Schema:
    def __init__(self) -> None:
        self._definitions: dict[str, Any] = {}
        self._names: dict[type[Any], str] = {}

    def document(self) -> dict[str, Any]:
        root = self._block(ROOT)
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Lightbus manifest",
            **root,
            "$defs": dict(sorted(self._definitions.items())),
        }

    def _block(self, block: Block) -> dict[str, Any]:
        cls = block.cls
        name = self._names.get(cls)
        if name is None:
            # Two plugins may call their options alike.
            alone = cls.__name__ not in self._definitions
            name = self._names[cls] = cls.__name__ if alone else f"{cls.__module__}.{cls.__name__}"
            self._definitions[name] = {}
            keys = keys_of(cls)
            # No key is required here: the file may be a layer that changes a single one.
            self._definitions[name] = {
                "description": (cls.__doc__ or "").partition("\n")[0],
                "type": ["object", "null"],
                "properties": {name: self._key(key) for name, key in keys.items()},
                "patternProperties": {"^x-": True},
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}

    def _key(self, key: Key) -> dict[str, Any]:
        schema = {"description": key.description, **self._form(key.form, key)}
        if isinstance(key.form, Leaf | Leaves) and key.default is not MISSING and key.default is not None:
            schema["default"] = _default(key)
        return schema

    def _form(self, form: Form, key: Key) -> dict[str, Any]:
        if isinstance(form, Leaf):
            return {"anyOf": [_leaf(form, key), _EXPRESSION, {"type": "null"}]}
        if isinstance(form, Leaves):
            item = {"anyOf": [_leaf(form.item, key), _EXPRESSION]}
            listed = {"type": ["array", "null"], "items": item}
            return {"anyOf": [listed, item]} if form.may_be_alone else listed
        if isinstance(form, Block):
            ref = self._block(form)
            return {"anyOf": [ref, {"type": "boolean"}, _EXPRESSION]} if form.toggle else ref
        if isinstance(form, Named):
            pattern = name_pattern(key.name)[0].pattern
            return _map({f"^({pattern})$": self._form(form.value, key)})
        if isinstance(form, OneOf):
            transports = {name: self._options(form.options(name)) for name in form.names()}
            return {**_map({}, transports), "maxProperties": 1}
        return _map({}, {name: self._plugin(name) for name in form.names()})

    def _plugin(self, name: str) -> dict[str, Any]:
        try:
            return self._block(Block(plugin_options(name) or PluginOptions))
        except (ConfigurationError, TypeError) as e:
            # Nobody has to use it; whoever does is told by the validator.
            return {"description": f"can't be used: {shown(str(e))}", "type": ["object", "null"]}

    def _options(self, cls: type[Any] | None) -> dict[str, Any]:
        return self._block(Block(cls)) if cls else {"type": ["object", "null"], "maxProperties": 0}


def _leaf(leaf: Leaf, key: Key) -> dict[str, Any]:
    schema = dict(leaf.json)
    if isinstance(key.form, Leaf) and not leaf.duration:
        if key.minimum is not None:
            schema["minimum"] = key.minimum
        if key.maximum is not None:
            schema["maximum"] = key.maximum
    return schema


def _default(key: Key) -> Any:
    if isinstance(key.form, Leaves):
        return [str(item) for item in key.default]
    if isinstance(key.form, Leaf) and key.form.duration:
        return yaml_value(key, key.default)
    written = yaml_value(key, key.default)
    return json.loads(written) if written.startswith('"') else plain_scalar(written)


def _map(patterns: dict[str, Any], properties: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": properties or {},
        "patternProperties": {"^x-": True, **patterns},
        "additionalProperties": False,
    }
