"""Importing what a manifest names: Django, bus modules, and functions as ``package.module:function``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import logging
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from lightbus.exceptions import (
    ConfigurationError,
    FailedToImportBusModule,
    LightbusException,
)
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place, Problems, suggest
from lightbus.runtime.interpreter import refuse_shadows

from . import logs

logger = logging.getLogger(__name__)

#: A key of the manifest, and the variable by which Django finds its settings.
_DJANGO, _VARIABLE = "django", "DJANGO_SETTINGS_MODULE"
_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = (str(Path(asyncio.__file__).parent.parent / "asyncio"), concurrent.futures.__path__[0])


def look_in(folder: Path) -> None:
    """Let modules be imported from a folder that is not installed.

    Raises:
        ConfigurationError: One of them takes the place of a package that Lightbus needs.
    """
    refuse_shadows(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def set_up_django(manifest: Manifest, problems: Problems) -> bool:
    """Set Django up where the manifest says so, unless it is set up already.

    It has to be done before anything imports models, and not by a bus module: an app may import that while
    Django is being set up, and Django can't be set up twice at a time.

    Args:
        manifest: The manifest; its modules can be imported by now.
        problems: Takes why it can't be set up.

    Returns:
        Whether Django is there.
    """
    if manifest.django is False:
        return False
    try:
        _set_up(manifest.django)
    except ConfigurationError as e:
        problems.add(manifest.origin(_DJANGO) or Place(""), _DJANGO, str(e))
        return False
    return True


def import_object(path: str) -> Any:
    """Import a function or class by ``package.module:name``.

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
        folder: The folder in which it is looked for first, for the error.
        given: Whether somebody named it as a bus module; None if it is the module of a handler.

    Raises:
        FailedToImportBusModule: It is not there or raises; the message has the line.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name is None or not (name == e.name or name.startswith(f"{e.name}.")):
            raise _failed(name, e) from e
        if name.endswith(".py"):
            advice = f"modules are named without .py: {name.removesuffix('.py')}"
        elif given is None:
            advice = "check the name before the colon"
        elif given:
            advice = "check the name given by --bus, LIGHTBUS_MODULE or modules in the manifest"
        else:
            advice = f"create {name}.py there, or name another module with --bus or LIGHTBUS_MODULE"
        raise FailedToImportBusModule(f"there is no module {name!r} in {folder}; {advice}") from e
    except LightbusException as e:
        raise with_place(e) from e
    except (Exception, SystemExit) as e:
        raise _failed(name, e) from e
    finally:
        logs.keep()


def with_place(error: LightbusException) -> ConfigurationError:
    """Add the line of user code that led to an error of ours, unless it says one already."""
    place = place_of(error)
    file = place.rpartition(":")[0] if place else ""
    if not isinstance(error, ConfigurationError):
        return ConfigurationError(f"{place}: {described(error)}" if place else described(error))
    if file and not str(error).startswith(file):
        # Still of its own class, which a test of the service may ask for.
        error.args = (f"{place}: {error}",)
    return error


def _set_up(settings: bool | str) -> None:
    django = _django()
    if importlib.import_module("django.apps").apps.ready:
        return
    if isinstance(settings, str):
        # As manage.py and wsgi.py do it.
        os.environ.setdefault(_VARIABLE, settings)
    name = os.environ.get(_VARIABLE)
    if not name and not importlib.import_module("django.conf").settings.configured:
        raise ConfigurationError(
            f"{_VARIABLE} is not set; set it, or write the settings module in place of true, as manage.py "
            "does: django: mysite.settings"
        )
    try:
        django.setup()
    except LightbusException as e:
        raise with_place(e) from e
    except (Exception, SystemExit) as e:
        raise ConfigurationError(_why_not(e, name or "")) from e
    finally:
        # It configures logging as the settings say.
        logs.keep()


def _django() -> ModuleType:
    try:
        return importlib.import_module("django")
    except ModuleNotFoundError as e:
        if e.name != "django":
            raise ConfigurationError(f"Django can't be imported: {e}") from e
        raise ConfigurationError("Django is not installed; run: pip install django") from None


def _why_not(error: BaseException, name: str) -> str:
    missing = getattr(error, "name", None)
    is_settings = isinstance(missing, str) and f"{name}.".startswith(f"{missing}.")
    if isinstance(error, ModuleNotFoundError) and is_settings:
        where = f"{_VARIABLE} or the name written here"
        return f"there is no settings module {name!r} in {Path.cwd()}; check {where}"
    place = _place_in_project(error)
    return f"{place}setting Django up raised {described(error)}"


def _place_in_project(error: BaseException) -> str:
    """Return the last line of the project that led to an error, for the beginning of a sentence."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    libraries = (_PACKAGE, Path(importlib.import_module("django").__path__[0]))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        is_file = frame.filename[:1] != "<" and "importlib" not in frame.filename
        if is_file and not any(Path(frame.filename).is_relative_to(each) for each in libraries):
            return f"{frame.filename}:{frame.lineno}: "
    return ""


def _failed(name: str, error: BaseException) -> FailedToImportBusModule:
    logger.debug("importing %s failed", name, exc_info=error)
    place = place_of(error) or name
    return FailedToImportBusModule(f"{place}: importing the module {name!r} raised {described(error)}")


def place_of(error: BaseException) -> str:
    """Return ``file:line`` of the last line of the traceback that is the user's, or nothing."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    theirs = [f for f in frames if f.filename[:1] != "<" and not Path(f.filename).is_relative_to(_PACKAGE)]
    outside = [f for f in theirs if not f.filename.startswith(_LIBRARIES)]
    return f"{outside[-1].filename}:{outside[-1].lineno}" if outside else ""


def described(error: BaseException) -> str:
    """Return an exception's type and message, of which user code may make anything."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as e:
        return f"{type(error).__name__}: (its text can't be had: str() raised {type(e).__name__})"
