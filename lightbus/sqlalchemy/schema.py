"""The tables as SQLAlchemy has them, for Alembic and for ``metadata.create_all()``."""

from __future__ import annotations

from datetime import UTC, datetime

from lightbus.exceptions import MissingExtra
from lightbus.messages import MAX_ID
from lightbus.outbox.rows import INBOX, LOCK, MAX_ERROR, MAX_EVENT, MAX_NAME, OUTBOX, WAITING

try:
    from sqlalchemy import (
        BigInteger,
        Column,
        DateTime,
        Identity,
        Index,
        Integer,
        MetaData,
        SmallInteger,
        String,
        Table,
        Text,
        UniqueConstraint,
    )
    from sqlalchemy.dialects import mysql
    from sqlalchemy.types import TypeEngine
except ImportError as e:
    raise MissingExtra("lightbus.sqlalchemy", "sqlalchemy") from e


def outbox_table(metadata: MetaData) -> Table:
    """Add the tables of the outbox to a metadata, so that Alembic makes their migration.

    Args:
        metadata: Of the service, such as ``Base.metadata``.

    Returns:
        The table of events; the one of locks is beside it.
    """
    if OUTBOX in metadata.tables:
        return metadata.tables[OUTBOX]
    Table(LOCK, metadata, Column("part", SmallInteger, primary_key=True, autoincrement=False))
    return Table(
        OUTBOX,
        metadata,
        _counted("seq"),
        Column("event_id", String(MAX_ID), nullable=False),
        Column("api", String(MAX_NAME), nullable=False),
        Column("event", String(MAX_NAME), nullable=False),
        Column("version", Integer, nullable=False),
        # Not JSON: databases change numbers, and the order of names, in a column of it.
        Column("kwargs", Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
        Column("key", _compared(MAX_ID), nullable=False),
        Column("bucket", SmallInteger, nullable=False),
        Column("traceparent", String(MAX_ID), nullable=False),
        Column("created_at", _moment(), nullable=False, default=now),
        Column("state", SmallInteger, nullable=False, default=WAITING),
        Column("error", String(MAX_ERROR), nullable=False, default=""),
        Column("attempts", Integer, nullable=False, default=0),
        Index("lightbus_outbox_waiting", "state", "seq", "bucket"),
    )


def inbox_table(metadata: MetaData) -> Table:
    """Add the table of the inbox to a metadata, so that Alembic makes its migration.

    Args:
        metadata: Of the service, such as ``Base.metadata``.

    Returns:
        The table.
    """
    if INBOX in metadata.tables:
        return metadata.tables[INBOX]
    return Table(
        INBOX,
        metadata,
        _counted("id"),
        Column("group", _compared(MAX_ID), nullable=False),
        # Two events of different names may have one id, as "order-7" of placed and of paid.
        Column("event", _compared(MAX_EVENT), nullable=False),
        Column("event_id", _compared(MAX_ID), nullable=False),
        Column("handled_at", _moment(), nullable=False, default=now),
        UniqueConstraint("group", "event", "event_id", name="lightbus_inbox_once"),
        # Groups keep their notes for times of their own.
        Index("lightbus_inbox_age", "group", "handled_at"),
    )


def now() -> datetime:
    """Return the time, in UTC: some databases keep no time zone."""
    return datetime.now(UTC)


def _counted(name: str) -> Column[int]:
    """Return a key that counts up; only an INTEGER does so by itself in SQLite."""
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True)


def _compared(length: int) -> TypeEngine[str]:
    """Return a type of text whose small letters differ from capital ones: MySQL would take "a" for "A"."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


def _moment() -> TypeEngine[datetime]:
    exact = mysql.DATETIME(fsp=6)
    return DateTime(timezone=True).with_variant(exact, "mysql", "mariadb")


#: The tables by themselves, for the statements of this package.
OWN = MetaData()
EVENTS = outbox_table(OWN)
LOCKS = OWN.tables[LOCK]
NOTES = inbox_table(OWN)
