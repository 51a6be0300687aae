"""Right and wrong uses of ``bus[AuthApi.check_password]``, which type checkers are to tell apart."""

from __future__ import annotations

RIGHT: list[str] = [
    "x: bool = bus[AuthApi.check_password](username='a', password='b')",
    "x: bool = bus[AuthApi.check_password]('a')",
    "x: bool = bus[AuthApi.check_password].call(username='a')",
    "x: bool = await bus[AuthApi.check_password].call_async(username='a')",
    "x: list[User] = bus[AuthApi.find]()",
    "x: list[User] = await bus[AuthApi.find].call_async(kind=None)",
    "for user in bus[AuthApi.find](): y: str = user.name",
    "x: EventMessage = bus[AuthApi.registered].fire(username='a')",
    "x: BusPath = bus[AuthApi]",
    "x: BusPath = bus['auth']",
]
WRONG: list[str] = [
    "bus[AuthApi.check_password]()",
    "bus[AuthApi.check_password](usernme='a')",
    "bus[AuthApi.check_password](username=1)",
    "x: str = bus[AuthApi.check_password](username='a')",
    "x: bool = bus[AuthApi.check_password].call_async(username='a')",
    "await bus[AuthApi.check_password](username='a')",
    "await bus[AuthApi.find].call_async(kind=1)",
    "x: list[str] = await bus[AuthApi.find].call_async()",
    "for user in bus[AuthApi.find](): user.nam",
    "bus[AuthApi.chek_password](username='a')",
    "bus[AuthApi.check_password].fire(username='a')",
    "bus[AuthApi.regstered].fire(username='a')",
    "bus[3]",
]
HEAD = """\
from __future__ import annotations

from dataclasses import dataclass

from lightbus import Api, BusPath, Event, EventMessage, Parameter


@dataclass
class User:
    name: str


class AuthApi(Api):
    registered = Event([Parameter("username", str)])

    class Meta:
        name = "auth"
        auto_register = False

    def check_password(self, username: str, password: str = "") -> bool:
        return True

    async def find(self, kind: str | None = None) -> list[User]:
        return []


"""
