"""Recurring work and background tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from lightbus.pool import HandlerPool
from lightbus.recurring import Recurring

from .cancellation import is_cancelled

logger = logging.getLogger(__name__)


async def run_recurring(recurring: Recurring, pool: HandlerPool) -> None:
    """Call a function at its times, for ever; a failure is logged, and the next time comes all the same.

    Args:
        recurring: The function and its times. A run that takes longer delays the next: they never overlap.
        pool: Where it runs if it is a plain function.
    """
    run_now = recurring.immediately
    while True:
        if not run_now:
            await asyncio.sleep(recurring.seconds_to_next())
        run_now = False
        try:
            await pool.invoke(recurring.function)
        except BaseException as e:
            if is_cancelled(e):
                raise
            logger.exception("%s failed; it runs again at its next time", recurring.name)


async def run_background(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a background task; a failure is logged."""
    try:
        await coroutine
    except BaseException as e:
        if is_cancelled(e):
            raise
        logger.exception("the background task %s failed", getattr(coroutine, "__qualname__", coroutine))
