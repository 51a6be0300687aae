"""The demands of the command line on the Python that runs it: its streams, and its packages."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from lightbus.exceptions import ConfigurationError

from .output import ESCAPED
from .portal import open_standard_descriptors

#: The packages that Lightbus can't do without, and itself: supervised processes are started by its name.
_NEEDED = (
    "cerberus",
    "click",
    "hiredis",
    "jsonschema_rs",
    "lightbus",
    "msgspec",
    "redis",
    "rich",
    "uvloop",
    "yaml",
)


def prepare_streams() -> None:
    """Open standard input, output and error if they are closed; let the latter two take any letter."""
    open_standard_descriptors()
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - as long as Python runs
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def refuse_shadows(folder: Path) -> None:
    """See that no module in a project's folder takes the place of a package that Lightbus needs.

    Args:
        folder: The folder from which modules are imported first.

    Raises:
        ConfigurationError: One does.
    """
    for name in _NEEDED:
        for module in (folder / f"{name}.py", folder / name / "__init__.py"):
            if module.exists() and _is_installed_elsewhere(name, folder):
                raise ConfigurationError(
                    f"{module} hides the package {name}, which Lightbus needs; rename that module"
                )


def _is_installed_elsewhere(name: str, folder: Path) -> bool:
    """Tell whether a package is there without the folder; else the folder is where it is installed."""
    others = [entry for entry in sys.path if os.path.realpath(entry or ".") != os.path.realpath(folder)]
    if name == "lightbus":
        return not Path(__file__).is_relative_to(os.path.realpath(folder))
    return importlib.machinery.PathFinder.find_spec(name, others) is not None
