"""``lightbus completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from lightbus.cli import cli


@click.command("completion", epilog="Example: echo 'eval \"$(lightbus completion bash)\"' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete commands and options.

    For fish, write it to ~/.config/fish/completions/lightbus.fish.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"this version of click can't complete in {shell}")
    # Not source(): that asks the bash on this machine for its version first.
    script = found(cli, {}, "lightbus", "_LIGHTBUS_COMPLETE")
    print(script.source_template % script.source_vars())
