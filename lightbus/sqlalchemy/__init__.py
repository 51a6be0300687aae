"""Lightbus in SQLAlchemy's transactions: ``outbox(bus, session)``, with the tables of ``outbox_table()``."""

from .schema import outbox_table
from .writing import outbox

__all__ = ["outbox", "outbox_table"]
