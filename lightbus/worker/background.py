"""Background tasks."""

from __future__ import annotations

import logging

from lightbus.cancellation import is_cancelled
from lightbus.client import BusClient
from lightbus.recurring import BackgroundTask

logger = logging.getLogger(__name__)


async def run_background(task: BackgroundTask, client: BusClient) -> None:
    """Run a background task; a failure is logged, and ends the host where the task says so."""
    try:
        await task.coroutine
    except BaseException as e:
        if is_cancelled(e):
            raise
        logger.exception("the background task %s failed", task.name)
        await client.hooks.report(e)
        if task.on_failure == "shutdown":
            client.request_shutdown(f"the background task {task.name} failed")
