"""An outbox in which very much waits: a batch is read by an index, and nothing is sorted for it."""

from __future__ import annotations

import pytest

from lightbus.outbox.rows import BUCKETS
from tests.conftest import missing
from tests.support.databases import PACKAGES, DatabaseKind, Databases, is_installed

from .size import filled, plan_of

ROWS = 20_000
#: In the words of each database: rows that are searched one by one, and rows that are sorted.
BAD = {"postgresql": ("Seq Scan", "Sort"), "mariadb": ("'ALL'", "filesort", "temporary")}
#: The index by state; or that of the key itself, whose order the rows come in.
INDEXES = {
    "postgresql": ("lightbus_outbox_waiting", "lightbus_outbox_pkey"),
    "mariadb": ("lightbus_outbox_waiting", "PRIMARY"),
}


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_batch_is_read_by_an_index_however_many_rows_wait(databases: Databases, kind: DatabaseKind) -> None:
    if not is_installed(kind):
        missing(f"no {kind}: install Debian's package {PACKAGES[kind]}")
    engine = filled(databases, kind, ROWS)
    for buckets in (tuple(range(BUCKETS)), (0, 3, 6, 9)):
        plan = plan_of(engine, buckets, 500)
        assert any(index in plan for index in INDEXES[kind]), plan
        assert not any(word in plan for word in BAD[kind]), plan
    engine.dispose()
