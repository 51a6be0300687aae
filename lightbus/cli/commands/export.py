"""``lightbus export``: files for those who run a service."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from lightbus.cli.help import Group
from lightbus.cli.manifest_options import manifest_options, read_unfilled, together
from lightbus.export.compose import compose
from lightbus.export.docker import image
from lightbus.export.keda import scaled_object
from lightbus.export.kubernetes import deployment
from lightbus.export.service import Asked, Service, service_of
from lightbus.export.systemd import unit
from lightbus.export.writing import differences, write
from lightbus.host import logs
from lightbus.host.shutdown import CLOSING
from lightbus.manifest.problems import render

Written = Callable[[Service], Mapping[str, str]]

#: The options of the manifest that ``lightbus run`` gets as well, beside -c and --set.
_FLAGS = {
    "modules": "--bus",
    "service_name": "--service-name",
    "process_name": "--process-name",
    "log_level": "--log-level",
    "transport": "--transport",
}

_out = together(
    click.option(
        "-o",
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Where to write; left out, everything is printed.",
    ),
    click.option(
        "--check",
        is_flag=True,
        help="Write nothing; print how the files in --out differ, with exit status 1.",
    ),
    manifest_options,
)
_image_option = click.option("--image", metavar="IMAGE", help="The image; left out, SERVICE:latest.")


@click.group("export", cls=Group, epilog="Example: lightbus export kubernetes --out deploy")
def command() -> None:
    """Write what runs this service elsewhere, as the manifest has it.

    Secrets are never written, only where they come from. The environment sets no keys here, so that the same
    manifest and options give the same files on every machine.
    """


@command.command("systemd", epilog="Example: lightbus export systemd --out deploy")
@click.option("--folder", metavar="PATH", help="The project's folder on the machine; left out, /srv/SERVICE.")
@_out
def systemd(folder: str | None, **options: Any) -> int:
    """Write a unit that is told how the service is (sd_notify), watched, reloaded and hardened."""
    return _export("systemd", lambda it: unit(it, folder or f"/srv/{it.slug}"), options)


@command.command("docker", epilog="Example: lightbus export docker --out .")
@_out
def docker(**options: Any) -> int:
    """Write a Dockerfile, whose user is not root, and a .dockerignore."""
    return _export("docker", image, options)


@command.command("compose", epilog="Example: lightbus export compose --out .")
@_image_option
@_out
def compose_command(image: str | None, **options: Any) -> int:
    """Write a compose.yaml: the service, and a Redis where the manifest names none."""
    return _export("compose", lambda it: compose(it, image or f"{it.slug}:latest"), options)


@command.command("kubernetes", epilog="Example: lightbus export kubernetes --out deploy")
@_image_option
@_out
def kubernetes(image: str | None, **options: Any) -> int:
    """Write a Deployment with probes and a drain that is waited for."""
    return _export("kubernetes", lambda it: deployment(it, image or f"{it.slug}:latest"), options)


@command.command("keda", epilog="Example: lightbus export keda --out deploy")
@click.option(
    "--lag",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="For how many waiting events of one listener there is to be another pod.",
)
@_out
def keda(lag: int, **options: Any) -> int:
    """Write a ScaledObject: as many pods as the events need that wait for listeners."""
    return _export("keda", partial(scaled_object, lag=lag), options)


def _export(target: str, files_of: Written, options: dict[str, Any]) -> int:
    out, check = options.pop("out"), options.pop("check")
    if check and out is None:
        raise click.UsageError("--check compares with the files in a folder; name it with --out DIR")
    logs.configure(options["log_level"] or "error", "text")
    manifest = read_unfilled(**options)
    flags = [word for name, flag in _FLAGS.items() if options[name] for word in (flag, options[name])]
    trusting = ["--trust-remote"] if options["trust_remote"] else []
    config = tuple(options["config"]) or tuple(filter(None, [os.environ.get("LIGHTBUS_CONFIG")]))
    settings = tuple(options["overrides"])
    asked = Asked(target, config, settings, (*flags, *trusting), Path.cwd(), CLOSING)
    service = service_of(manifest, asked)
    files = files_of(service)
    service.problems.raise_errors()
    if warnings := service.problems.ordered("warning"):
        print(render(warnings), file=sys.stderr)
    if check:
        diff = differences(files, out)
        print(diff or f"as they would be written: {', '.join(str(out / name) for name in files)}\n", end="")
        return 1 if diff else 0
    if out is None:
        print("\n".join(files.values()), end="")
        return 0
    for path in write(files, out):
        print(f"wrote {path}")
    return 0
