"""``lightbus contract``: what is done with the contracts of APIs."""

from __future__ import annotations

import click

from .contract_check import check
from .contract_show import show

command = click.Group(
    "contract",
    [check, show],
    help="Compare and print the contracts of APIs.",
    epilog="Example: lightbus contract show auth",
)
