"""``lightbus version``."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from lightbus import __version__

_PACKAGES = ("redis", "hiredis", "uvloop", "msgspec", "jsonschema-rs", "click")


@click.command("version", epilog="Example: lightbus version --all")
@click.option("-a", "--all", "is_all", is_flag=True, help="The versions of Python and of what it uses, too.")
@click.option("--json", "as_json", is_flag=True, help="All versions as one JSON object.")
def command(is_all: bool, as_json: bool) -> None:
    """Print the version of Lightbus."""
    if as_json:
        print(json.dumps(versions()))
    elif is_all:
        for name, version in versions().items():
            print(f"{name:14} {version}")
    else:
        print(__version__)


def versions() -> dict[str, str]:
    """Return the versions of Lightbus, of Python and of what it uses, by name."""
    ours = {"lightbus": __version__, "python": platform.python_version()}
    return ours | {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return "not installed"
