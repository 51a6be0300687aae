"""Right and wrong uses of outboxes and inboxes, which type checkers are to tell apart."""

from __future__ import annotations

RIGHT: list[str] = [
    "charge(EVENT, number=1)",
    "bare(EVENT, number=1)",
    "x: str = with_session(EVENT, number=1)",
    "x: str = await awaited(EVENT, number=1)",
    "batch([EVENT])",
    "inbox(Maker, keep=3.5)",
    "inbox(AsyncMaker, keep='14d')",
    "inbox(scoped_session(Maker))(in_any)",
    "x: BusPath = outbox(bus, Maker())",
    "x: m.Bus = outbox(m.typed(bus), AsyncMaker(), key='a', require_transaction=False)",
    "x: m.Bus = outbox_in_django(m.typed(bus), using='orders', key='a')",
    "x: EventMessage = outbox_in_django(bus).shop.placed.fire(number=1)",
    "x: EventMessage = await outbox(bus, AsyncMaker()).shop.placed.fire_async(number=1)",
]
WRONG: list[str] = [
    "charge(EVENT)",
    "charge(EVENT, number='a')",
    "bare(EVENT, nmber=1)",
    "with_session(EVENT, Maker(), number=1)",
    "with_session(EVENT, number='a')",
    "x: int = with_session(EVENT, number=1)",
    "await with_session(EVENT, number=1)",
    "x: str = awaited(EVENT, number=1)",
    "await awaited(EVENT, session=AsyncMaker(), number=1)",
    "batch(EVENT)",
    "inbox()",
    "inbox(3)",
    "inbox(Maker, keep=None)",
    "inbox(AsyncMaker)(in_any)",
    "inbox_in_django(3)",
    "inbox_in_django(using=3)",
    "inbox_in_django(keep=None)",
    "outbox(bus)",
    "outbox(bus, 3)",
    "outbox(bus, Maker(), key=3)",
    "outbox_in_django(bus, using=3)",
    "x: m.Bus = outbox(bus, Maker())",
]
HEAD = """\
from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import types_dataclass as m
from lightbus import BusPath, EventMessage
from lightbus.django import inbox as inbox_in_django
from lightbus.django import outbox as outbox_in_django
from lightbus.sqlalchemy import inbox, outbox

EVENT = EventMessage("shop", "placed", {})
Maker = sessionmaker[Session]()
AsyncMaker = async_sessionmaker[AsyncSession]()


@inbox_in_django(using="orders", keep="1d")
def charge(event_message: EventMessage, number: int) -> None: ...


@inbox_in_django
def bare(event_message: EventMessage, number: int) -> None: ...


@inbox(Maker)
def with_session(event_message: EventMessage, session: Session, number: int) -> str:
    return str(number)


@inbox(AsyncMaker)
async def awaited(event_message: EventMessage, session: AsyncSession, number: int) -> str:
    return str(number)


@inbox(Maker)
def batch(events: list[EventMessage], session: Session) -> None: ...


def in_any(event_message: EventMessage, session: Session, number: int) -> None: ...


"""
