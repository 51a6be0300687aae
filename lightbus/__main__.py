"""``python -m lightbus`` is ``lightbus``."""

from lightbus.cli import main

if __name__ == "__main__":
    main()
