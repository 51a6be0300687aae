"""The page of all names of Lightbus 1.x: ``python -m tests.declared.old_names`` writes it anew."""

from __future__ import annotations

import json
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Final

from lightbus.declared.old_names.members import MEMBERS
from lightbus.declared.old_names.table import INNER, INTERNAL, MODULES, NAMES

LIST: Final = Path(__file__).with_name("lightbus-1x-names.json")
MEMBERS_LIST: Final = Path(__file__).with_name("lightbus-1x-members.json")
PAGE: Final = Path(__file__).parents[2] / "docs" / "names-of-1x.md"
THE_SAME: Final = "the same"
#: Same names with other methods: transports of one's own are written anew.
OTHER_METHODS: Final = {"lightbus.transports.base", "lightbus.transports.redis.schema"}
#: How the objects of each class are written.
OBJECTS: Final = {
    "BusPath": "a bus and of the names on it",
    "BusClient": "bus.client",
    "BusSchema": "bus.schema",
    "Api": "an API",
}
HEAD: Final = """\
# Names of Lightbus 1.x

Every public name of Lightbus 1.x and where it is now. An old name works, and gives a `DeprecationWarning`
with the new one, once in each process: pytest shows them, and so does `python -W default -m lightbus run`. A
name that is gone is refused in the sentence that stands here. [Coming from Lightbus 1.x](coming-from-1x.md)
has everything else that changed.

What objects have comes first, then the names of each module.
"""


def names_of_1x() -> dict[str, list[str]]:
    """The public names of each module of 1.x."""
    return {module: names.split() for module, names in json.loads(LIST.read_text()).items()}


def is_the_same(module: str, name: str) -> bool:
    """Whether a name is where it was."""
    if f"{module}.{name}" in NAMES or module in MODULES or internal(module):
        return False
    try:
        return name in vars(import_module(module))
    except ModuleNotFoundError:
        return False


def internal(module: str) -> str | None:
    """What to use instead of a module that is gone."""
    return next((text for name, text in INTERNAL.items() if f"{module}.".startswith(f"{name}.")), None)


def now(module: str, name: str) -> str:
    """Where a name is now, as the page has it."""
    gone = internal(module)
    if gone is not None:
        return f"gone: {gone}"
    if is_the_same(module, name):
        return f"{THE_SAME}, with other methods" if module in OTHER_METHODS else THE_SAME
    old = NAMES.get(f"{module}.{name}", INNER)
    if old.place is None:
        return f"gone: {old.instead}"
    return f"`{old.place}`" if old.instead == f"write {old.place}" else f"an alias; {old.instead}"


def members_of_1x() -> dict[str, list[str]]:
    """What objects of 1.x had, by today's name of their class."""
    return {of: names.split() for of, names in json.loads(MEMBERS_LIST.read_text()).items()}


def member_now(of: str, name: str) -> str:
    """Where a member of a class is now, as the page has it."""
    if name in MEMBERS[of]:
        return f"gone: {MEMBERS[of][name]}"
    return THE_SAME


def table(rows: list[tuple[str, str]]) -> str:
    """Names of one module, those with the same place in one row."""
    text = "| 1.x | now |\n| --- | --- |\n"
    for where, group in groupby(sorted(rows), key=lambda row: row[0]):
        text += f"| {', '.join(name for _, name in group)} | {where} |\n"
    return text


def page() -> str:
    """The whole page."""
    names = names_of_1x()
    exceptions = set(names["lightbus.exceptions"]) - {"LightbusException"}
    parts = [HEAD]
    for of, written in OBJECTS.items():
        rows = [(member_now(of, name), f"`{name}`") for name in members_of_1x()[of]]
        parts.append(f"## Members of {written}\n\n{table(rows)}")
    for module in sorted(names):
        rows = [(now(module, name), f"`{name}`") for name in names[module]]
        if module == "lightbus":
            rows = [row for row in rows if row[1].strip("`") not in exceptions]
            rows.append(("as in `lightbus.exceptions`, below", "each exception"))
        if rows and internal(module) is None:
            parts.append(f"## {module}\n\n{table(rows)}")
    gone = [(f"gone: {text}", f"`{name}`") for name, text in INTERNAL.items()]
    parts.append(f"## Modules that are gone\n\n{table(gone)}")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
