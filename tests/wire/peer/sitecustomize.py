"""Lightbus 1.x gives its own tasks 2 s to begin, which a busy machine may take: more, where this is imported.

Python does so at the start of each process with this folder in PYTHONPATH.
"""

from __future__ import annotations

import importlib
from typing import Any

_creation: Any = importlib.import_module("lightbus.creation")
_block: Any = _creation.block


def _block_patiently(coroutine: Any, timeout: float) -> Any:
    """Wait for a coroutine as 1.x does, but for longer."""
    return _block(coroutine, timeout=30 * timeout)


_creation.block = _block_patiently
