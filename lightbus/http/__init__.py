"""Health and metrics by HTTP, from a thread of its own: it answers also while the event loop is blocked."""

from .server import serving

__all__ = ["serving"]
