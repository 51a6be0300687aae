"""``lightbus web``."""

from __future__ import annotations

from typing import Any

import click

from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, complete_files, manifest_options
from lightbus.exceptions import MissingExtra
from lightbus.host import logs


def _given(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Refuse an empty text, which a script gives whose variable is not set."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("must not be empty")
    return value


@click.command("web", cls=Command, epilog="Example: lightbus web --listen 127.0.0.1:9000")
@click.option(
    "--listen",
    "web_listen",
    metavar="ADDRESS",
    callback=_given,
    help="Where to listen: host:port, or a port of 127.0.0.1; left out, 127.0.0.1:8098.",
)
@click.option(
    "--host",
    "web_hosts",
    multiple=True,
    metavar="NAME",
    callback=_given,
    help="A name by which browsers reach it, such as bus.example.com; may be repeated.",
)
@click.option(
    "--auth",
    "web_auth",
    type=click.Choice(["none", "token", "proxy"]),
    help="Who may look: everybody who reaches it, whoever has a token, or whom a proxy names.",
)
@click.option(
    "--token-file",
    "web_token_file",
    metavar="FILE",
    callback=_given,
    shell_complete=complete_files,
    help="The tokens: a line for each person, with a name and their token.",
)
@click.option(
    "--user-header",
    "web_user_header",
    metavar="HEADER",
    callback=_given,
    help="The header in which the proxy names the user; left out, X-Forwarded-User.",
)
@click.option(
    "--role-header",
    "web_role_header",
    metavar="HEADER",
    callback=_given,
    help="The header in which the proxy names the user's role; left out, no header is believed.",
)
@click.option(
    "--trusted-proxy",
    "web_trusted_proxies",
    multiple=True,
    metavar="NETWORK",
    callback=_given,
    help="The address or network of a proxy that is believed, such as 10.0.0.0/8; may be repeated.",
)
@click.option(
    "--root-path",
    "web_root_path",
    metavar="PATH",
    callback=_given,
    help="The path beneath which a proxy shows it, such as /bus.",
)
@click.option(
    "--allow",
    "web_allow",
    metavar="ACTIONS",
    callback=_given,
    help="What everybody may do who has no role, such as pause,run_schedule; left out, they may only look.",
)
@manifest_options
def command(**options: Any) -> None:
    """Show the bus in a browser: who is on it, what waits, and what needs somebody.

    It only reads, unless --allow or a role lets somebody do more. Other machines reach it where --listen says
    so, and then it asks who they are.
    """
    manifest = begin(options, "info")
    logs.configure(manifest.bus.log_level, manifest.bus.log_format)
    try:
        from lightbus.web.server import serve
    except ImportError as e:
        raise MissingExtra("lightbus web", "web") from e
    serve(manifest)
