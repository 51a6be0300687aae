"""``lightbus contract show``."""

from __future__ import annotations

from typing import Any

import click

from lightbus import logs
from lightbus.schema.signature import show as text_of

from .options import manifest_options, read
from .project import project_bus


@click.command("show", epilog="Example: lightbus contract show auth")
@click.argument("api")
@manifest_options
def show(api: str, **options: Any) -> None:
    """Print API, such as auth, as a person would write its signatures.

    It is that of this project, or else the one on the bus.
    """
    logs.configure(options["log_level"] or "error")
    bus = project_bus(read(**options), may_lack_modules=True)
    try:
        print(text_of(api, bus.schema.get(api)), end="")
    finally:
        bus.client.close()
