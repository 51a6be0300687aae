"""The module of typed clients, from contracts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .functions import Functions
from .hints import Form, Hints, Mapped
from .names import Names, camel, is_attribute, words_in
from .texts import docstring

_PATHS = "lightbus.bus.typed.paths"
_VIEWS = "lightbus.bus.typed.views"
_FIRST_LINE = '"""Typed clients of the bus. Written by `lightbus types`: do not edit, write it again."""'
_TAIL = """\
def typed(bus: {BusPath}) -> Bus:
    \"\"\"Return a bus as its contracts have it.\"\"\"
    return {cast}("Bus", {bus})


create = {returning}(lightbus.create, typed)
get_bus = {returning}(lightbus.get_bus, typed)
"""


@dataclass(slots=True)
class _Node:
    """One word of the names of APIs: what is below it, and the API that ends with it."""

    path: str = ""
    below: dict[str, _Node] = field(default_factory=dict)
    contract: Mapping[str, Any] | None = None


def module_of(
    contracts: Mapping[str, Mapping[str, Any]],
    form: Form = "dataclass",
    mapped: Mapped = MappingProxyType({}),
    version: str = "",
) -> str:
    """Return the code of a module with typed clients.

    Args:
        contracts: Contracts by API, which may come from strangers; each is one by ``check_contract()``.
        form: How JSON objects look in Python.
        mapped: Classes to import instead of writing them; their modules may import this one.
        version: The version of what writes it.

    Returns:
        The code, the same for equal contracts.
    """
    members = {word for name in contracts for word in name.split(".")}
    for contract in contracts.values():
        members |= {*contract["rpcs"], *contract["events"]} | words_in([contract["rpcs"], contract["events"]])
    names = Names(members)
    hints = Hints(form, names, mapped)
    functions = Functions(hints, names)
    views = _Views(functions, names)
    views.write(_tree(contracts), [])
    bus = "bus"
    if form == "dataclass":
        bus = f"{names.imported(_PATHS, 'TypedPath')}.of(bus, Bus)"
    tail = _TAIL.format(
        BusPath=names.imported("lightbus", "BusPath"),
        cast=names.imported("typing", "cast"),
        returning=names.imported(_PATHS, "returning"),
        bus=bus,
    )
    last = names.last_imports()
    if last:
        tail += "\n".join(["", "# These come last, since they may import this module.", *last, ""])
    parts = [*hints.classes, *functions.texts, *views.texts, tail]
    return _header(contracts, version, names) + "\n\n\n".join(parts)


def digest_of(contracts: Mapping[str, Any]) -> str:
    """Return what tells these contracts from others."""
    text = json.dumps(contracts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_written_here(code: str) -> bool:
    """Tell whether a module is one that :func:`module_of` made, so that it may be written again."""
    return code.startswith(_FIRST_LINE)


def _header(contracts: Mapping[str, Any], version: str, names: Names) -> str:
    by = f"lightbus types, Lightbus {version}" if version else "lightbus types"
    apis = ", ".join(sorted(contracts)[:5]) + (", ..." if len(contracts) > 5 else "")
    lines = [
        _FIRST_LINE,
        "",
        f"# Written by {by}, from the contracts {digest_of(contracts)}: {apis}.",
        "# fmt: off",
        "# ruff: noqa",
        "",
        "from __future__ import annotations",
        "",
        *names.imports(),
    ]
    return "\n".join(lines) + "\n\n\n"


def _tree(contracts: Mapping[str, Mapping[str, Any]]) -> _Node:
    root = _Node()
    for name, contract in sorted(contracts.items()):
        node = root
        for word in name.split("."):
            node = node.below.setdefault(word, _Node(f"{node.path}.{word}".lstrip(".")))
        node.contract = contract
    return root


class _Views:
    """Writes the protocols of APIs, and that of the bus."""

    def __init__(self, functions: Functions, names: Names) -> None:
        self.texts: list[str] = []
        self._functions = functions
        self._names = names

    def write(self, node: _Node, also: list[str]) -> str:
        """Write the protocol of what is below a node, and return its name.

        Args:
            node: The node.
            also: What else has its name: a procedure or an event.
        """
        contract = node.contract or {"rpcs": {}, "events": {}}
        members = {n: self._functions.procedure(node.path, n, e) for n, e in sorted(contract["rpcs"].items())}
        for name, entry in sorted(contract["events"].items()):
            members[name] = self._functions.event(node.path, name, entry)
        for word, child in sorted(node.below.items()):
            members[word] = self.write(child, [members[word]] if word in members else [])
        name = self._names.new(f"{camel(node.path)}Api") if node.path else "Bus"
        view = self._names.imported(_VIEWS, "ApiView" if node.path else "BusView")
        bases = ", ".join([*also, view, self._names.imported("typing", "Protocol")])
        text = contract.get("description")
        doc = docstring(text, 4) if isinstance(text, str) else []
        lines = [f"    {word}: {cls}" for word, cls in members.items() if is_attribute(word)]
        others = [(word, cls) for word, cls in members.items() if not is_attribute(word)]
        body = [
            *doc,
            *([""] if doc and (lines or others) else []),
            *lines,
            *self._by_name(others, lines, is_bus=not node.path),
        ]
        self.texts.append("\n".join([f"class {name}({bases}):", *(body or ["    pass"])]))
        return name

    def _by_name(self, others: list[tuple[str, str]], above: list[str], *, is_bus: bool) -> list[str]:
        """Return what leads to names that are no attributes, by ``bus.auth["class"]``."""
        if not others:
            return []
        imported = self._names.imported
        literal = imported("typing", "Literal")
        taken = [(word, cls) for word, cls in others if word != "*"]
        if not is_bus:
            # As with every API: all of its events.
            taken.append(("*", imported("lightbus", "BusPath")))
        lines = [""] if above else []
        for word, cls in taken:
            lines += [f"    @{imported('typing', 'overload')}"] if len(taken) > 1 else []
            lines += [f"    def __getitem__(self, name: {literal}[{word!r}], /) -> {cls}: ...", ""]
        return lines[:-1]
