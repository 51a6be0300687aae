"""Values as the YAML that a manifest would hold for them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from lightbus.declared.policy import DeliveryPolicy
from lightbus.manifest.keys.cerberus_rules import format_duration
from lightbus.manifest.keys.forms import Key, Leaves
from lightbus.manifest.keys.scalars import Leaf
from lightbus.options import Secret, SecretUrl

# Text that needs no quotes in any version of YAML.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*", re.ASCII)
_READ_AS_OTHERS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"}


def yaml_text(text: str) -> str:
    """Return text as a YAML scalar, in quotes where it needs them."""
    if _PLAIN.fullmatch(text) and text.lower() not in _READ_AS_OTHERS:
        return text
    return json.dumps(text.replace("${", "$${"), ensure_ascii=not text.isprintable())


def yaml_value(key: Key, value: Any) -> str:
    """Return the value of a key on one line, with secrets hidden."""
    if isinstance(key.form, Leaves):
        items: Sequence[Any] = value
        return f"[{', '.join(_scalar(key.form.item, item) for item in items)}]"
    return _scalar(key.form if isinstance(key.form, Leaf) else None, value)


def _scalar(leaf: Leaf | None, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        if leaf and leaf.duration:
            return format_duration(value)
        return f"{value:g}" if value < 10**6 else str(value)
    if isinstance(value, DeliveryPolicy):
        return value.then.value
    if isinstance(value, Enum):
        return yaml_text(str(value.value))
    if isinstance(value, datetime):
        return yaml_text(value.isoformat())
    if isinstance(value, type):
        return yaml_text(value.__name__)
    if isinstance(value, Mapping):
        return "{}"
    text = str(value) if isinstance(value, Secret) or "://" not in str(value) else str(SecretUrl(str(value)))
    return yaml_text(text)
