"""Commands that are sent together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class Batch:
    """Commands that belong together, and the future of their replies."""

    future: asyncio.Future[Any]
    packed: bytes
    wanted: int
    single: bool
    #: Whether its reply comes only when replicas have what it wrote, where they are promised.
    is_promised: bool = False
    replies: list[Any] = field(default_factory=list)
    sent: float = 0.0
    #: The command that rings for those who wait for what it adds, behind it; None if nobody does.
    bell: bytes | None = None
    #: Whether Redis refused one of them.
    is_refused: bool = False
