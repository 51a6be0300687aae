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

logger = logging.getLogger(__name__)


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
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return [_import(name, folder, given=given) for name in names]


def import_object(path: str, what: str) -> Any:
    """Import a function or class by ``package.module:name``.

    Args:
        path: Its path.
        what: Who names it, for the error.

    Raises:
        FailedToImportBusModule: The module can't be imported, or has nothing of that name.
    """
    module_name, _, name = path.partition(":")
    try:
        found: Any = _import(module_name, Path.cwd(), given=True)
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise FailedToImportBusModule(f"{what}: {module_name} has no {name!r}") from None
    except FailedToImportBusModule as e:
        raise FailedToImportBusModule(f"{what}: {e}") from e
    return found


def _import(name: str, folder: Path, *, given: bool) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name is None or not (name == e.name or name.startswith(f"{e.name}.")):
            raise _failed(name, e) from e
        if given:
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
