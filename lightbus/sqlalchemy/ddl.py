"""The statements that make the tables, for projects whose migrations are SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from .schema import OWN

_DIALECTS: Final[dict[str, Any]] = {
    "postgresql": postgresql.dialect,
    "mysql": mysql.dialect,
    "sqlite": sqlite.dialect,
}


def statements(dialect: str) -> Iterator[str]:
    """Yield each statement, in an order in which they can be run.

    Args:
        dialect: ``postgresql``, ``mysql`` (which MariaDB takes, too) or ``sqlite``.
    """
    chosen = _DIALECTS[dialect]()
    for table in OWN.sorted_tables:
        yield str(CreateTable(table).compile(dialect=chosen)).strip()
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=chosen)).strip()
