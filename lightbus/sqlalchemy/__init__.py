"""Lightbus in SQLAlchemy's transactions: ``outbox(bus, session)``, ``@inbox(Session)``, and their tables."""

from .handling import inbox
from .schema import inbox_table, outbox_table
from .writing import outbox

__all__ = ["inbox", "inbox_table", "outbox", "outbox_table"]
