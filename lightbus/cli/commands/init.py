"""``lightbus init``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from lightbus.cli.examples import EXAMPLES, files_of
from lightbus.manifest.printing.jsonschema import json_schema

_MANIFEST = """\
# yaml-language-server: $schema=./{schema}
# Editors complete keys by that file; `lightbus dumpconfigschema --out {schema}` writes it again.
#
# What this project hosts: `lightbus run`. What is wrong with this file: `lightbus check`.
# All keys with their defaults: `lightbus config show`.

# The service, and hence its consumer groups. Keep it once events are listened to.
service_name: {name}

# The bus modules: they define the APIs.
modules: [bus]

# bus:
#   redis:
#     # Left out, `lightbus run` brings a Redis of its own where none answers.
#     url: ${{REDIS_URL:-redis://127.0.0.1:6379/0}}

apis:
  auth:
    owner: {name} # this service alone answers the calls of auth and fires its events

# Events go to functions, here or of any other module.
listeners:
  send_welcome:
    events: [auth.user_registered]
    handler: bus:send_welcome

# Functions that are called again and again, once for all processes of the service.
# schedules:
#   clean_up: {{every: 1h, call: "bus:clean_up"}}
"""

_MODULE = '''\
"""The APIs of this project; `lightbus run` hosts them."""

from lightbus import Api, Event


class AuthApi(Api):
    user_registered = Event(parameters=("username", "email"))

    class Meta:
        name = "auth"

    def check_password(self, username, password):
        return username == "admin" and password == "secret"


def send_welcome(event_message, username, email):
    print(f"Welcome, {username} <{email}>")
'''

#: The folder of what need not be committed; an embedded server keeps its data there.
_UNCOMMITTED = ".lightbus/"
_SCHEMA = f"{_UNCOMMITTED}lightbus.schema.json"
#: The most files that are named.
_LISTED = 2
_TRY = """\
  lightbus call auth.check_password username=admin password=secret
  lightbus fire auth.user_registered username=admin email=admin@example.com"""
_TRY_SHOP = """\
  lightbus run -c examples/shop/payments.yaml
  lightbus run -c examples/shop/mail.yaml
  lightbus call shop.orders.place customer=Ann 'lines=[{"sku": "teapot", "quantity": 1}]'"""


@click.command("init", epilog="Example: lightbus init && lightbus run")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--example", type=click.Choice(list(EXAMPLES)), help="Write this example instead.")
def command(folder: Path, example: str | None) -> None:
    """Write a first lightbus.yaml and bus.py into FOLDER (here, if not given).

    The schema for editors goes to .lightbus/, and that folder into .gitignore. Nothing is overwritten. The
    example shop has three services; its page in the tutorial goes through them.
    """
    if example is not None:
        _write(folder, files_of(example, _SCHEMA))
        _say(folder, "lightbus run -c config", "other terminals", _TRY_SHOP)
        return
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-.") or "service"
    _write(folder, {"lightbus.yaml": _MANIFEST.format(name=_quoted(name), schema=_SCHEMA), "bus.py": _MODULE})
    _say(folder, "lightbus run", "another terminal", _TRY)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, with the schema of manifests for editors."""
    there = [name for name in files if (folder / name).exists()]
    if there:
        more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
        names = (", " if more else " and ").join(there[:_LISTED])
        raise click.ClickException(f"nothing was written: {folder} has {names}{more} already")
    # The schema is the same for everybody, and no work of the user's.
    for file, text in {**files, _SCHEMA: json_schema()}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
        print(f"wrote {folder / file}")
    _ignore(folder / ".gitignore")


def _say(folder: Path, run: str, where: str, then: str) -> None:
    """Say what to run next."""
    is_here = folder == Path()
    print(f"Now run: {run}" if is_here else f"Now run: cd {folder} && {run}")
    print(f"Then, in {where}{'' if is_here else ' in that folder'}:\n{then}")


def _ignore(file: Path) -> None:
    """Add the folder that need not be committed to a .gitignore, unless it is there."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if _UNCOMMITTED in text.splitlines():
        return
    end = "" if not text or text.endswith("\n") else "\n"
    file.write_text(f"{text}{end}{_UNCOMMITTED}\n", encoding="utf-8")
    print(f"added {_UNCOMMITTED} to {file}" if text else f"wrote {file}")


def _quoted(name: str) -> str:
    """Return a name that YAML takes for text, whatever it spells."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{5,}", name) else f'"{name}"'
