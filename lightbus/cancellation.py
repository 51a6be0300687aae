"""Telling the end of a task from a handler that lets out what would end one."""

from __future__ import annotations

import asyncio


def is_cancelled(error: BaseException) -> bool:
    """Tell whether an error means that the running task is to end, and not only that user code raised it."""
    if isinstance(error, GeneratorExit):
        return True
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
