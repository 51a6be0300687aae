"""What the shop does again and again; config/20-service.yaml says when."""

from __future__ import annotations

import logging

from . import warehouse

log = logging.getLogger(__name__)


async def refill_shelves() -> None:
    """Put new pieces on the shelves, once a night for the whole service."""
    for sku in ("teapot", "cup", "tray"):
        warehouse.refill(sku, 10)


def beat() -> None:
    """Say that this process lives."""
    log.info("%s teapots on the shelf", warehouse.available("teapot"))
