"""Right and wrong uses of the clients that are written for `apis`, which type checkers are to tell apart."""

from __future__ import annotations

from lightbus.contracts.clients.hints import Form

BOTH: tuple[Form, ...] = ("dataclass", "typeddict")
OBJECTS: tuple[Form, ...] = ("dataclass",)
DICTS: tuple[Form, ...] = ("typeddict",)

#: Each with the forms in which it is right.
RIGHT: list[tuple[str, tuple[Form, ...]]] = [
    ("x: bool = bus.auth.check_password(username='a', password='b')", BOTH),
    ("x: bool = bus.auth.check_password(username='a')", BOTH),
    ("x: bool = bus.auth.check_password.call(username='a')", BOTH),
    ("x: bool = await bus.auth.check_password.call_async(username='a')", BOTH),
    ("bus.auth.check_password(username='a', bus_options={'timeout': 1.5})", BOTH),
    ("x: dict[str, Any] = bus.auth.check_password.parameter_schema", BOTH),
    ("bus.auth.check_password.validate_parameters({'username': 'a'})", BOTH),
    ("x: list[m.AuthUser] = bus.auth.find()", BOTH),
    ("x: list[m.AuthUser] = bus.auth.find(kind=m.AuthKind.GUEST, since=NOW, limit=3)", OBJECTS),
    ("x: list[m.AuthUser] = bus.auth.find(kind='guest', since=NOW, limit=3)", DICTS),
    ("bus.auth.find(kind=None, since='2026-01-01T00:00:00')", DICTS),
    ("for user in bus.auth.find(): y: str = user.address.street", OBJECTS),
    ("for user in bus.auth.find(): y: str = user['address']['street']", DICTS),
    ("for user in bus.auth.find(): y: m.AuthKind = user.friends[0].kind", OBJECTS),
    ("for user in bus.auth.find(): y: str = user['kind']", DICTS),
    ("for user in bus.auth.find(): y: date | None = user.address.date", OBJECTS),
    ("for user in bus.auth.find(): y: list[int] = user.address.list", OBJECTS),
    ("x = bus.auth.one(id=UUID(int=1))\nif x is not None: y: str = x.name", OBJECTS),
    ("x = bus.auth.one(id='5')\nif x is not None: y: str = x['name']", DICTS),
    ("x: m.AuthUser | None = await bus.auth.one.call_async(id=UUID(int=1), of=3)", BOTH),
    ("a = m.AuthAddress(street='s')\nm.AuthUser(name='n', kind=m.AuthKind.USER, address=a)", OBJECTS),
    (
        "a: m.AuthAddress = {'street': 's'}\nx: m.AuthUser = {'name': 'n', 'kind': 'user', 'address': a}",
        DICTS,
    ),
    ("x: UUID = bus.auth.save(user=USER, house=HOUSE, note='x', other='y')", OBJECTS),
    ("x: str = bus.auth.save(user=USER, house=HOUSE, note='x', other='y')", DICTS),
    ("x: Decimal = bus.auth.simple(mode='fast', price=Decimal(1), raw=b'x')", OBJECTS),
    ("x: str = bus.auth.simple(mode=3, price=Decimal(1))", DICTS),
    ("x: str = bus.auth.simple(mode=3, price='1.5', raw='AA==')", DICTS),
    ("x: tuple[datetime, timedelta] = bus.auth.times(day=TODAY, at=time(1), lasts=timedelta(1))", OBJECTS),
    ("x: list[str] = bus.auth.times(day=TODAY, at=time(1))", DICTS),
    ("bus.auth.shapes(pair=(1, 'a'), points=[POINT], box=BOX, circle=CIRCLE)", BOTH),
    ("x: float = bus.auth.shapes(pair=(1, 'a'), points=[], box=BOX, circle=CIRCLE).items[0].x", OBJECTS),
    ("x: float = bus.auth.shapes(pair=(1, 'a'), points=[], box=BOX, circle=CIRCLE)['items'][0]['x']", DICTS),
    ("bus.auth.maps(sizes={m.AuthKind.USER: 1}, users={UUID(int=1): ADDRESS}, by_id={1: 'a'})", OBJECTS),
    ("bus.auth.maps(sizes={'user': 1}, users={'1': ADDRESS}, by_id={'1': 'a'})", DICTS),
    ("x: dict[str, int] = bus.auth.odd(money={'cents': 1}, number='1j', extra={'a': 1}, either=1)", BOTH),
    ("bus.auth.odd(money={}, number='1j', extra={'a': 1, 'b': 'x'}, either=['a'])", BOTH),
    ("x: m.AuthPageUser = bus.auth.pages()", BOTH),
    ("x: list[m.AuthUser] = bus.auth.pages().items", OBJECTS),
    ("x: list[m.AuthUser] = bus.auth.pages()['items']", DICTS),
    ("x: object = bus.auth.anything(a=1, b=3, c='more')", BOTH),
    ("bus.auth.nothing()", BOTH),
    ("x: int = bus.shop.orders.place(customer='a', lines=[m.ShopOrdersAddress(street='s')])", BOTH),
    ("x: int = await bus.shop.orders.place.call_async(customer='a', lines=[])", BOTH),
    ("x: int = bus.shop.orders['import'](customer='a', lines=[])", BOTH),
    ("x: int = bus.shop.orders(day=TODAY)", BOTH),
    ("x: EventMessage = bus.auth.user_registered.fire(username='a', at=NOW)", BOTH),
    ("await bus.auth.user_registered.fire_async(username='a', at=NOW, note='x')", BOTH),
    ("bus.auth.user_registered.fire(username='a', kind=m.AuthKind.GUEST, at=NOW)", OBJECTS),
    ("bus.auth.user_registered.fire(username='a', at=NOW, bus_options={'id': 'x', 'timeout': 1})", BOTH),
    (
        "bus.auth.user_registered.fire_many([{'username': 'a', 'at': NOW}, {'username': 'b', 'at': NOW}])",
        BOTH,
    ),
    ("await bus.shop.orders.placed.fire_many_async([{'order_id': 1, 'lines': []}])", BOTH),
    ("bus.shop.orders.placed.fire_many([], bus_options={'ids': [None, 'x']})", BOTH),
    ("given: dict[str, Any] = {'from': 'a'}\nbus.auth.renamed.fire(to='b', **given)", BOTH),
    ("x: EventMessage = in_django(bus, key='1').auth.user_registered.fire(username='a', at=NOW)", BOTH),
    ("in_django(bus, using='orders').shop.orders.placed.fire_many([{'order_id': 1, 'lines': []}])", BOTH),
    ("in_sqlalchemy(bus, Session(), key='1').auth.user_registered.fire(username='a', at=NOW)", BOTH),
    ("await in_sqlalchemy(bus, AsyncSession()).auth.user_registered.fire_async(username='a', at=NOW)", BOTH),
    ("bus.shop.orders.placed.listen(on_placed, listener_name='l')", BOTH),
    ("bus.shop.orders.placed.listen(on_placed_plain)", BOTH),
    ("bus.shop.orders.placed.listen(on_batch, bus_options={'batch': 10})", BOTH),
    ("bus.auth['*'].listen(on_any)", BOTH),
    ("x: list[str] = bus.schema.api_names", BOTH),
    ("x: BusClient = bus.client", BOTH),
    ("with m.create('redis://h') as b: y: bool = b.auth.check_password(username='a')", BOTH),
    ("async with m.create(url='redis://h', service_name='s') as b: await b.auth.nothing.call_async()", BOTH),
    ("x: m.Bus = m.get_bus()", BOTH),
    ("x: m.Bus = m.typed(lightbus.create())", BOTH),
    ("x: m.AuthApi = bus.auth", BOTH),
]

#: Each with the forms in which it is wrong.
WRONG: list[tuple[str, tuple[Form, ...]]] = [
    ("bus.auth.check_password()", BOTH),
    ("bus.auth.check_password('a')", BOTH),
    ("bus.auth.check_password(username=1)", BOTH),
    ("bus.auth.check_password(username='a', passwort='b')", BOTH),
    ("bus.auth.check_password(username=None)", BOTH),
    ("x: str = bus.auth.check_password(username='a')", BOTH),
    ("x: bool = bus.auth.check_password.call_async(username='a')", BOTH),
    ("await bus.auth.check_password(username='a')", BOTH),
    ("await bus.auth.check_password.call_async(name='a')", BOTH),
    ("bus.auth.check_password.call(usernam='a')", BOTH),
    ("bus.auth.check_password(username='a', bus_options={'timeout': 'x'})", BOTH),
    ("bus.auth.check_password(username='a', bus_options={'timeuot': 1})", BOTH),
    ("bus.auth.check_password(username='a', bus_options={'id': 'x'})", BOTH),
    ("bus.auth.check_password.fire(username='a')", BOTH),
    ("bus.auth.chek_password(username='a')", BOTH),
    ("bus.atuh.check_password(username='a')", BOTH),
    ("bus.check_password(username='a')", BOTH),
    ("bus.auth()", BOTH),
    ("bus.auth.find(kind='gust')", BOTH),
    ("bus.auth.find(kind='guest')", OBJECTS),
    ("bus.auth.find(since=TODAY)", BOTH),
    ("bus.auth.find(since='yesterday')", OBJECTS),
    ("bus.auth.find(limit='10')", BOTH),
    ("bus.auth.find(limit=None)", BOTH),
    ("for user in bus.auth.find(): user.adress", OBJECTS),
    ("for user in bus.auth.find(): user['adress']", DICTS),
    ("for user in bus.auth.find(): user.name", DICTS),
    ("for user in bus.auth.find(): user['name']", OBJECTS),
    ("for user in bus.auth.find(): y: int = user.address.street", OBJECTS),
    ("for user in bus.auth.find(): y: int = user['address']['street']", DICTS),
    ("for user in bus.auth.find(): y: date = user.address.date", OBJECTS),
    ("for user in bus.auth.find(): y: date = user['born']", DICTS),
    ("bus.auth.find().name", BOTH),
    ("bus.auth.one(id='5')", OBJECTS),
    ("bus.auth.one(id=5)", BOTH),
    ("x: m.AuthUser = bus.auth.one(id=UUID(int=1))", BOTH),
    ("bus.auth.one(id=UUID(int=1)).name", OBJECTS),
    ("m.AuthUser(name='n', kind=m.AuthKind.USER)", OBJECTS),
    ("m.AuthUser('n', m.AuthKind.USER, ADDRESS)", OBJECTS),
    ("x: m.AuthUser = {'name': 'n', 'kind': 'user'}", BOTH),
    ("x: m.AuthUser = {'name': 'n', 'kind': 'owner', 'address': ADDRESS}", BOTH),
    ("m.AuthKind.OWNER", BOTH),
    ("bus.auth.save(user=USER, house=HOUSE, note=1)", BOTH),
    ("bus.auth.save(user=ADDRESS, house=HOUSE)", BOTH),
    ("bus.auth.simple(mode='medium', price=Decimal(1))", BOTH),
    ("bus.auth.simple(mode=4, price=Decimal(1))", BOTH),
    ("bus.auth.simple(mode=3, price=1.5)", BOTH),
    ("bus.auth.times(day=1, at=time(1))", BOTH),
    ("bus.auth.times(day=TODAY, at=time(1), lasts=3600)", BOTH),
    ("bus.auth.shapes(pair=(1, 2), points=[], box=BOX, circle=CIRCLE)", BOTH),
    ("bus.auth.shapes(pair=(1, 'a', 2), points=[], box=BOX, circle=CIRCLE)", BOTH),
    ("bus.auth.shapes(pair=(1, 'a'), points=[BOX], box=BOX, circle=CIRCLE)", BOTH),
    ("bus.auth.maps(sizes={'owner': 'x'}, users={}, by_id={})", BOTH),
    ("bus.auth.maps(sizes={}, users={}, by_id={1.5: 'a'})", BOTH),
    ("bus.auth.odd(money={'cents': 'x'}, number='1j', extra={'a': 1}, either=1)", BOTH),
    ("bus.auth.odd(money={}, number='1j', extra={'b': 'x'}, either=1)", BOTH),
    ("bus.auth.odd(money={}, number='1j', extra={'a': 1, 'c': 2}, either=1)", BOTH),
    ("bus.auth.odd(money={}, number='1j', extra={'a': 1}, either=1.5)", BOTH),
    ("bus.auth.anything(b=3)", BOTH),
    ("bus.auth.nothing(x=1)", BOTH),
    ("bus.shop.orders.place(customer='a', lines=[m.AuthAddress(street='s', number=1)])", BOTH),
    ("bus.shop.orders.place(customer='a', lines='abc')", BOTH),
    ("bus.shop.orders['export'](customer='a', lines=[])", BOTH),
    ("bus.shop.orders(day=1)", BOTH),
    ("bus.auth.user_registered(username='a', at=NOW)", BOTH),
    ("bus.auth.user_registered.call(username='a', at=NOW)", BOTH),
    ("bus.auth.user_registered.fire(username='a')", BOTH),
    ("in_django(bus).auth.user_registered.fire(username='a')", BOTH),
    ("in_django(bus).auth.usr_registered.fire(username='a', at=NOW)", BOTH),
    ("in_django(bus, key=1).auth.user_registered.fire(username='a', at=NOW)", BOTH),
    ("in_sqlalchemy(bus).auth.user_registered.fire(username='a', at=NOW)", BOTH),
    ("in_sqlalchemy(bus, Session()).auth.user_registered.fire(username=1, at=NOW)", BOTH),
    ("await in_sqlalchemy(bus, AsyncSession()).shop.orders.placed.fire_async(order_id='x', lines=[])", BOTH),
    ("bus.auth.user_registered.fire(username='a', at=NOW, extra=1)", BOTH),
    ("bus.auth.user_registered.fire(username='a', at=NOW, kind='owner')", BOTH),
    ("bus.auth.user_registered.fire(username='a', at=NOW, bus_options={'ids': ['x']})", BOTH),
    ("await bus.auth.user_registered.fire_async(usernme='a', at=NOW)", BOTH),
    ("bus.auth.user_registered.fire_many([{'username': 'a'}])", BOTH),
    ("bus.auth.user_registered.fire_many([{'username': 'a', 'at': NOW, 'x': 1}])", BOTH),
    ("bus.shop.orders.placed.listen(on_any)", BOTH),
    ("bus.shop.orders.placed.listen(on_other)", BOTH),
    ("bus.shop.orders.placed.listen(on_placed, on_error='ignore')", BOTH),
    ("bus.shop.orders.placed.listen(on_placed, listener=1)", BOTH),
    ("m.create(urll='redis://h')", BOTH),
    ("m.create(service_name=1)", BOTH),
    ("m.typed(bus)", BOTH),
    ("m.get_bus(1)", BOTH),
]

HEAD = """\
from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import lightbus
from lightbus import BusClient, EventMessage
from lightbus.django import outbox as in_django
from lightbus.sqlalchemy import outbox as in_sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

import types_{form} as m

NOW = datetime(2026, 1, 1)
TODAY = date(2026, 1, 1)
{values}


async def on_placed(event: EventMessage, order_id: int, lines: list[m.ShopOrdersAddress]) -> None: ...


def on_placed_plain(event: EventMessage, lines: list[m.ShopOrdersAddress], order_id: int) -> None: ...


def on_batch(events: list[EventMessage]) -> None: ...


def on_any(event: EventMessage, name: str) -> None: ...


def on_other(event: EventMessage, order_id: str, lines: list[m.ShopOrdersAddress]) -> None: ...


"""
VALUES = {
    "dataclass": """\
ADDRESS = m.AuthAddress(street="s")
USER = m.AuthUser(name="n", kind=m.AuthKind.USER, address=ADDRESS)
HOUSE = m.AuthHouse(street=m.AuthStreet(name="s"))
POINT = m.AuthPoint(x=1.5)
BOX = m.AuthBox(width=1)
CIRCLE = m.AuthCircle(type="circle", radius=1.5)""",
    "typeddict": """\
ADDRESS: m.AuthAddress = {"street": "s"}
USER: m.AuthUser = {"name": "n", "kind": "user", "address": ADDRESS}
HOUSE: m.AuthHouse = {"street": {"name": "s"}}
POINT: m.AuthPoint = {"x": 1.5}
BOX: m.AuthBox = {"width": 1}
CIRCLE: m.AuthCircle = {"type": "circle", "radius": 1.5}""",
}


def module_with(uses: list[str], form: Form) -> tuple[str, list[range]]:
    """Return a module that makes each use in a function of its own, and the lines of each."""
    return functions(uses, "m.Bus", HEAD.format(form=form, values=VALUES[form]))


def functions(uses: list[str], bus: str, head: str) -> tuple[str, list[range]]:
    """Return a module with a function for each use, which takes a bus of that type, and the lines of each."""
    lines = head.splitlines()
    places = []
    for number, use in enumerate(uses, 1):
        start = len(lines) + 1
        lines.append(f"async def use_{number}(bus: {bus}) -> None:")
        lines += [f"    {line}" for line in use.splitlines()]
        places.append(range(start, len(lines) + 1))
        lines.append("")
    return "\n".join(lines) + "\n", places
