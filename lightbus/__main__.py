"""``python -m lightbus`` is ``lightbus``."""

import sys
from pathlib import Path

from lightbus.exceptions import ConfigurationError

from .runtime.interpreter import refuse_shadows


def main() -> None:
    """Run the command line; unlike the program, it imports from the working directory first."""
    try:
        refuse_shadows(Path(sys.path[0]))
    except ConfigurationError as e:
        print(e, file=sys.stderr)  # noqa: T201
        sys.exit(78)  # as the command line does, which can't be imported yet
    from lightbus.cli import program

    program()


if __name__ == "__main__":
    main()
