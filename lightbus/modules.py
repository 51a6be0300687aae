"""Importing what a manifest names: bus modules, and functions as ``package.module:function``."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .exceptions import FailedToImportBusModule, LightbusException
from .manifest.problems import suggest

logger = logging.getLogger(__name__)


def look_in(folder: Path) -> None:
    """Let modules be imported from a folder that is not installed."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def import_modules(names: Sequence[str], folder: Path, *, given: bool) -> list[ModuleType]:
    """Import bus modules, which may lie in a folder that is not installed.

    Args:
        names: Dotted names.
        folder: Where they are looked for first.
        given: Whether somebody named them, or they are only the default.

    Returns:
        The modules.

    Raises:
        FailedToImportBusModule: One is not there or raises; the message has the line.
    """
    look_in(folder)
    return [import_bus_module(name, folder, given) for name in names]


def import_object(path: str) -> Any:
    """Import a function or class by ``package.module:name``.

    Args:
        path: Its path.

    Returns:
        What has that name.

    Raises:
        FailedToImportBusModule: The module can't be imported, or has nothing of that name.
    """
    module_name, _, names = path.partition(":")
    found: Any = import_bus_module(module_name, Path.cwd(), None)
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            advice = suggest(name, (n for n in dir(found) if not n.startswith("_")))
            raise FailedToImportBusModule(f"{module_name} has no {names!r}{advice}") from None
    return found


def import_bus_module(name: str, folder: Path, given: bool | None) -> ModuleType:
    """Import a module.

    Args:
        name: Its dotted name.
        folder: Where it is looked for first, for the error.
        given: Whether somebody named it as a bus module; None where it is the module of a handler.

    Raises:
        FailedToImportBusModule: It is not there or raises; the message has the line.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name is None or not (name == e.name or name.startswith(f"{e.name}.")):
            raise _failed(name, e) from e
        if given is None:
            advice = "check the name before the colon"
        elif given:
            advice = "check the name given by --bus, LIGHTBUS_MODULE or modules in the manifest"
        else:
            advice = f"create {name}.py there, or name another module with --bus or LIGHTBUS_MODULE"
        raise FailedToImportBusModule(f"there is no module {name!r} in {folder}; {advice}") from e
    except LightbusException:
        raise
    except (Exception, SystemExit) as e:
        raise _failed(name, e) from e


def _failed(name: str, error: BaseException) -> FailedToImportBusModule:
    """Say which line failed: the last one of the traceback that is not the import machinery's."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else name
    logger.debug("importing %s failed", name, exc_info=error)
    return FailedToImportBusModule(
        f"{place}: importing the module {name!r} raised {type(error).__name__}: {error}"
    )
