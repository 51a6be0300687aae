"""Handlers as a manifest names them, with and without an inbox of their own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from lightbus.messages import EventMessage
from lightbus.sqlalchemy import inbox

#: The numbers of the events that were handled.
charged: list[int] = []
#: Makes sessions of an engine that the test sets.
Maker: sessionmaker[Session] = sessionmaker()


def charge(event_message: EventMessage, number: int, note: str) -> None:
    """Take note of a number; for Django."""
    charged.append(number)


def charge_in(event_message: EventMessage, session: Session, number: int, note: str) -> None:
    """Take note of a number; for SQLAlchemy."""
    assert session.scalar(text("SELECT 1")) == 1
    charged.append(number)


async def awaited(event_message: EventMessage, **arguments: Any) -> None:
    """What Django can't have in a transaction."""


decorated = inbox(Maker)(charge_in)


def engine_in(folder: Any) -> None:
    """Let the sessions be those of an empty database."""
    from .test_sqlalchemy import METADATA

    engine = create_engine(f"sqlite:///{folder}/db.sqlite3")
    METADATA.create_all(engine)
    Maker.configure(bind=engine)
