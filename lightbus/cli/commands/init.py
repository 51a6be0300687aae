"""``lightbus init``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from lightbus.manifest.printing.jsonschema import json_schema

_MANIFEST = """\
# yaml-language-server: $schema=./{schema}
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
# listeners:
#   send_welcome:
#     events: [auth.user_registered]
#     handler: bus:send_welcome
#     on_error: dead_letter
#     concurrency: 4

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
'''

_SCHEMA = "lightbus.schema.json"


@click.command("init", epilog="Example: lightbus init && lightbus run")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
def command(folder: Path) -> None:
    """Write a first lightbus.yaml, its schema for editors and a bus.py into FOLDER (here, if not given).

    Nothing is overwritten.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-.") or "service"
    files = {
        "lightbus.yaml": _MANIFEST.format(name=_quoted(name), schema=_SCHEMA),
        _SCHEMA: json_schema(),
        "bus.py": _MODULE,
    }
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise click.ClickException(f"nothing was written: {folder} has {' and '.join(there)} already")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
        print(f"wrote {folder / file}")
    print("Now run: lightbus run" if folder == Path() else f"Now run: cd {folder} && lightbus run")


def _quoted(name: str) -> str:
    """Return a name that YAML takes for text, whatever it spells."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{5,}", name) else f'"{name}"'
