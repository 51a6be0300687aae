"""Lightbus 1.x: hiredis, batches of 100, and neither validation nor casting."""
# It does not understand annotations that are strings: this file has none of the future's.

import asyncio
import sys
from collections.abc import Sequence

from benchmarks.measures import BATCH, USERNAME, Figures
from benchmarks.peers import shape

if shape.TALLY is None:
    sys.path.append(sys.path.pop(0))  # else this checkout, where we are, would be the `lightbus` of its venv

import lightbus
from lightbus import Api, Event, EventMessage, Parameter

#: It has no `python -m lightbus`, and must not take this checkout's either.
COMMAND = (
    "import sys; sys.path.append(sys.path.pop(0)); "
    "from lightbus.commands import lightbus_entry_point; lightbus_entry_point()"
)

_redis = {"redis": {"url": shape.URL, "batch_size": BATCH}}
_plain = {"redis": {"url": shape.URL}}
bus = lightbus.create(
    config={
        "service_name": "bench",
        "bus": {"schema": {"transport": _plain}},
        "apis": {
            "default": {
                "validate": False,
                "cast_values": False,
                "event_transport": _redis,
                "rpc_transport": _redis,
                "result_transport": _plain,
            }
        },
    }
)


class AuthApi(Api):
    user_registered = Event(parameters=(Parameter("username", str), Parameter("password", str)))

    class Meta:
        name = "auth"

    async def check_password(self, username: str, password: str) -> bool:
        return shape.check(username, password)


async def user_registered(event_message: EventMessage, username: str, password: str) -> None:
    shape.note(username)


bus.client.register_api(AuthApi())
if shape.TALLY is not None:
    bus.auth.user_registered.listen(user_registered, listener_name="count")


class LightbusPeer(shape.AsyncPeer):
    worker = ("-c", COMMAND, "run", "--bus", __spec__.name)

    def run(self, parts: Sequence[str]) -> Figures:
        """On the loop that it took when the bus was made."""
        return asyncio.get_event_loop().run_until_complete(self._measure(parts))

    def prepare(self) -> None:
        shape.execute("XGROUP CREATE auth.*:stream bench-count 0 MKSTREAM")
        # It destroys a group without consumers when it starts, and makes it anew at the stream's end.
        shape.execute("XGROUP CREATECONSUMER auth.*:stream bench-count other")

    async def close(self) -> None:
        await bus.client.close_async()

    async def call(self) -> object:
        return await bus.auth.check_password.call_async(**shape.CREDENTIALS)

    async def fire(self, username: str = USERNAME) -> object:
        return await bus.auth.user_registered.fire_async(username=username, password="secret")


if __name__ == "__main__":
    shape.main(LightbusPeer)
