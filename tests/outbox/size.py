"""Outboxes in which very much waits: filled, and looked at with the eyes of the database."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Engine, create_engine, text

from lightbus.sqlalchemy.tables import SqlAlchemyTables, reading
from tests.support.databases import DatabaseKind, Databases

from .test_sqlalchemy import METADATA, url_of

_FILL = """
INSERT INTO lightbus_outbox (event_id, api, event, version, kwargs, {key}, bucket, traceparent, created_at,
    state, error, attempts)
SELECT {name}, 'shop', 'placed', 1, '{{"order_id": 1234567, "customer": "Ann Smith", "total": "19.99"}}',
    {value}, n % 12, '', now(), CASE WHEN n <= FAILED THEN 1 ELSE 0 END, '', 0 FROM {numbers}
"""
_FILLS = {
    "postgresql": _FILL.format(
        key="key",
        name="gen_random_uuid()",
        value="'k' || n % KEYS",
        numbers="generate_series(1, ROWS) AS n",
    ),
    "mariadb": _FILL.format(
        key="`key`",
        name="uuid()",
        value="concat('k', n % KEYS)",
        numbers="(SELECT seq AS n FROM seq_1_to_ROWS) AS numbers",
    ),
}
_ANALYZE = {"postgresql": "VACUUM ANALYZE lightbus_outbox", "mariadb": "ANALYZE TABLE lightbus_outbox"}


def filling(kind: DatabaseKind, rows: int, *, keys: int, failed: int) -> tuple[str, str]:
    """The statements that fill an outbox: so many rows, of so many keys, some of which can't be sent."""
    fill = _FILLS[kind].replace("ROWS", str(rows)).replace("KEYS", str(keys)).replace("FAILED", str(failed))
    return fill, _ANALYZE[kind]


def filled(databases: Databases, kind: DatabaseKind, rows: int) -> Engine:
    """An engine of a database in whose outbox so many rows are, each with a key of its own."""
    engine = create_engine(url_of(kind, databases))
    METADATA.create_all(engine)
    for statement in filling(kind, rows, keys=rows, failed=10):
        databases.server(kind).execute(statement, engine.url.database)
    return engine


#: Bytes of the table, and of its indexes: those of InnoDB's key are the table itself.
_BYTES = {
    "postgresql": "SELECT pg_table_size('{table}'), pg_indexes_size('{table}')",
    "mariadb": "SELECT data_length, index_length FROM information_schema.tables "
    "WHERE table_name = '{table}' AND table_schema = database()",
}


def bytes_of(engine: Engine, kind: DatabaseKind, table: str = "lightbus_outbox") -> tuple[int, int]:
    """How many bytes a table has, and its indexes, as the database says."""
    with engine.connect() as connection:
        own, indexes = connection.exec_driver_sql(_BYTES[kind].format(table=table)).one()
    return int(own), int(indexes)


def plan_of(engine: Engine, buckets: Sequence[int], limit: int) -> str:
    """How the database reads a batch, in its words."""
    asked = reading(buckets, limit).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        return "\n".join(str(tuple(row)) for row in connection.execute(text(f"EXPLAIN {asked}")))


def seconds_of(engine: Engine, buckets: Sequence[int], limit: int, times: int = 15) -> float:
    """How long reading a batch takes at least, its lock included: others may keep the machine busy."""
    tables, taken = SqlAlchemyTables(engine, "e"), []
    for _ in range(times):
        started = time.perf_counter()
        batch = tables.begin(buckets, limit)
        taken.append(time.perf_counter() - started)
        assert batch is not None and len(batch.rows) == limit
        tables.rollback()
    tables.close()
    return min(taken)
