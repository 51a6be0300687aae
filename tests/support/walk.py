"""The walk of some code through the package: the files whose functions it runs."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from pathlib import Path
from types import FrameType
from typing import Any

import lightbus

PACKAGE = Path(lightbus.__file__).parent


async def walk_of(work: Awaitable[Any]) -> list[str]:
    """Await something, and return the files that its event loop has passed until then.

    Returns:
        Their names such as ``bus/path``, each once, in the order of their first function.
    """
    passed: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            passed[frame.f_code.co_filename] = None

    sys.setprofile(note)
    try:
        await work
    finally:
        sys.setprofile(None)
    files = [Path(name) for name in passed]
    return [
        file.relative_to(PACKAGE).with_suffix("").as_posix() for file in files if file.is_relative_to(PACKAGE)
    ]
