"""The program ``lightbus``: Ctrl-C ends it without a traceback, also while it is still imported."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line and exit."""
    # On a busy machine the imports take seconds. Nobody could catch an exception there, so until they end
    # the signal itself ends the program, as it ends others.
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lightbus.cli import program as run

    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
