"""What a page tells its reader to install, and a Python that seems to have nothing else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, distributions, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_INSTALL = re.compile(r"pip install ((?:'[^']+'|\w[\w.-]*)(?: (?:'[^']+'|\w[\w.-]*))*)")
#: Part of any Python, or of how this one was made.
_ALWAYS = {"lightbus", "pip", "setuptools", "wheel"}
#: Read by each Python before anything else: `None` among the modules is a module that is not there.
_SITE = """\
import importlib.metadata, re, sys

_modules, _names = {modules!r}, {names!r}
sys.modules.update(dict.fromkeys(_modules))
_all = importlib.metadata.distributions


def _visible(**context):
    for each in _all(**context):
        if re.sub(r"[-_.]+", "-", each.name).lower() not in _names:
            yield each


importlib.metadata.distributions = _visible
"""


#: It reads a file of every package.
_packages = cache(packages_distributions)


def requirements(page: Path) -> list[str]:
    """Everything that a page says to install; Lightbus itself goes without saying."""
    found = {"lightbus": ""}
    for line in _INSTALL.findall(page.read_text()):
        for each in shlex.split(line):
            # The one with extras wins over the bare name.
            if len(each) > len(found.get(Requirement(each).name, "")):
                found[Requirement(each).name] = each
    return [text or name for name, text in found.items()]


def extras(page: Path) -> set[str]:
    """The extras of Lightbus that a page names."""
    return {
        extra
        for line in _INSTALL.findall(page.read_text())
        for each in map(Requirement, shlex.split(line))
        if each.name == "lightbus"
        for extra in each.extras
    }


def installed_by(wanted: Iterable[str]) -> set[str]:
    """The names of the packages here that come with some requirements, and with what those require."""
    found: set[str] = set()
    left = [(canonicalize_name(each.name), frozenset(each.extras)) for each in map(Requirement, wanted)]
    seen = set()
    while left:
        name, chosen = left.pop()
        if (name, chosen) in seen:
            continue
        seen.add((name, chosen))
        found.add(name)
        try:
            required = distribution(name).requires or ()
        except PackageNotFoundError:
            continue
        for each in map(Requirement, required):
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in ("", *chosen)):
                left.append((canonicalize_name(each.name), frozenset(each.extras)))
    return found


def only(wanted: Iterable[str], folder: Path) -> str:
    """Make a folder that, in PYTHONPATH, hides all packages but some and what they require.

    Args:
        wanted: Requirements, as pip takes them.
        folder: Where to make it.

    Returns:
        The folder.
    """
    visible = installed_by(wanted) | _ALWAYS
    hidden = {canonicalize_name(each.name) for each in distributions() if each.name} - visible
    return hiding(hidden, folder)


def hiding(hidden: Collection[str], folder: Path) -> str:
    """Make a folder that, in PYTHONPATH, hides some packages.

    Args:
        hidden: Their names.
        folder: Where to make it.

    Returns:
        The folder.
    """
    modules = [
        module
        for module, names in _packages().items()
        if all(canonicalize_name(name) in hidden for name in names)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    text = _SITE.format(modules=sorted(modules), names=sorted(hidden))
    (folder / "sitecustomize.py").write_text(text)
    return str(folder)
