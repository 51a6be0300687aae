"""A service with many APIs of one shape, for `benchmarks.growth`: BENCH_APIS of them when it is hosted."""

from __future__ import annotations

import os

from lightbus import Api, Event, Parameter


def api_name(number: int) -> str:
    """The name of one of them."""
    return f"bench.api_{number}"


def define(number: int) -> type[Api]:
    """Make one of them."""

    async def check_password(self: Api, username: str, password: str) -> bool:
        return username == "admin" and password == "secret"

    meta = type("Meta", (), {"name": api_name(number)})
    event = Event(parameters=(Parameter("username", str), Parameter("password", str)))
    members = {"Meta": meta, "user_registered": event, "check_password": check_password}
    return type(f"Api{number}", (Api,), {"__module__": __name__, **members})


for _number in range(int(os.environ.get("BENCH_APIS", "1000"))):
    define(_number)
