"""What a host of the campaign runs: a handler with an inbox, in a process that kills itself at some point.

The environment says which library it uses, the point, and how often it is reached before that. A file named
``end`` in its folder ends the host as SIGTERM does.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from lightbus.messages import EventMessage
from lightbus.sqlalchemy import inbox

LIBRARY = os.environ.get("TILL_LIBRARY", "")
URL = os.environ.get("TILL_URL", "")
POINT = os.environ.get("TILL_POINT", "")
TIME = int(os.environ.get("TILL_TIME", "1"))
HAS_INBOX = os.environ.get("TILL_INBOX", "yes") == "yes"
PAY_IN = "UPDATE bank SET balance = balance + "

#: The points: between them are all statements of a transaction.
POINTS = ("begun", "noted", "written", "returned", "committed")
_times = itertools.count(1)


def reach(point: str) -> None:
    """Be killed here, if it is the time for it."""
    if point == POINT and next(_times) == TIME:
        os.kill(os.getpid(), signal.SIGKILL)


def _is_note(statement: str) -> bool:
    return statement.startswith("INSERT") and "lightbus_inbox" in statement


def _end_by_file() -> None:
    while not Path("end").exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)


def in_django() -> Any:
    """The handler with Django."""
    from django.db import connection, transaction
    from django.db.backends.signals import connection_created

    from lightbus.django import inbox as inbox_in_django

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if _is_note(sql):
            reach("begun")
        result = execute(sql, params, many, context)
        if _is_note(sql):
            reach("noted")
        return result

    def watched(connection: Any, **_: Any) -> None:
        commit = connection.commit

        def committing() -> None:
            reach("returned")
            commit()
            reach("committed")

        connection.commit = committing
        connection.execute_wrappers.append(watch)

    connection_created.connect(watched, weak=False)

    def charge(event_message: EventMessage, number: int, note: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"{PAY_IN}{number:d}")
        reach("written")

    return inbox_in_django(charge) if HAS_INBOX else transaction.atomic(charge)


def watch_engine(engine: Any) -> None:
    """Reach the points of the transactions of an engine."""

    def before(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _is_note(statement):
            reach("begun")

    def after(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _is_note(statement):
            reach("noted")

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "commit", lambda connection: reach("returned"))
    event.listen(Session, "after_commit", lambda session: reach("committed"))


def in_sqlalchemy() -> Any:
    """The handler with SQLAlchemy's sessions."""
    engine = create_engine(URL)
    watch_engine(engine)
    maker = sessionmaker(engine)

    def charge(event_message: EventMessage, session: Session, number: int, note: str) -> None:
        session.execute(text(f"{PAY_IN}{number:d}"))
        reach("written")

    def without(event_message: EventMessage, number: int, note: str) -> None:
        with maker.begin() as session:
            charge(event_message, session, number, note)

    return inbox(maker)(charge) if HAS_INBOX else without


def in_asyncio() -> Any:
    """The handler with SQLAlchemy's asynchronous sessions."""
    engine = create_async_engine(URL)
    watch_engine(engine.sync_engine)
    maker = async_sessionmaker(engine)

    async def charge(event_message: EventMessage, session: AsyncSession, number: int, note: str) -> None:
        await session.execute(text(f"{PAY_IN}{number:d}"))
        await asyncio.sleep(0)
        reach("written")

    async def without(event_message: EventMessage, number: int, note: str) -> None:
        async with maker.begin() as session:
            await charge(event_message, session, number, note)

    return inbox(maker)(charge) if HAS_INBOX else without


WAYS = {"django": in_django, "sqlalchemy": in_sqlalchemy, "asyncio": in_asyncio}
if LIBRARY:
    charge = WAYS[LIBRARY]()
    threading.Thread(target=_end_by_file, daemon=True).start()
