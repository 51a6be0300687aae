"""An outbox in which very much waits: a batch is read by an index, and nothing is sorted for it."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, create_engine, text

from lightbus.outbox.rows import BUCKETS
from lightbus.sqlalchemy.tables import reading
from tests.conftest import missing
from tests.support.databases import PACKAGES, Databases, is_installed

from .test_sqlalchemy import METADATA

ROWS = 20_000
#: Every hundredth row can't be sent.
FILL = """
INSERT INTO lightbus_outbox (event_id, api, event, version, kwargs, key, bucket, traceparent, created_at,
    state, error, attempts)
SELECT 'e' || n, 'shop', 'placed', 1, '{}', 'k' || n, n % 12, '', now(),
    CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END, '', 0 FROM generate_series(1, :rows) AS n
"""


def filled(databases: Databases, rows: int) -> Engine:
    """An engine of a PostgreSQL in whose outbox so many rows are."""
    if not is_installed("postgresql"):
        missing(f"no postgresql: install Debian's package {PACKAGES['postgresql']}")
    server = databases.server("postgresql")
    engine = create_engine(f"postgresql+psycopg://lightbus@127.0.0.1:{server.port}/{server.new_database()}")
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text(FILL), {"rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE lightbus_outbox"))
    return engine


@pytest.mark.parametrize("buckets", [tuple(range(BUCKETS)), (0, 3, 6, 9)], ids=["all", "a third"])
def test_a_batch_is_read_by_an_index_however_many_rows_wait(
    databases: Databases, buckets: tuple[int, ...]
) -> None:
    engine = filled(databases, ROWS)
    asked = reading(buckets, 500).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        plan = "\n".join(connection.scalars(text(f"EXPLAIN {asked}")))
    engine.dispose()
    # Either the index by state or that of the key itself, whose order the rows come in.
    assert "Index" in plan and "Seq Scan" not in plan and "Sort" not in plan, plan
