"""NATS by request and reply: nats-server, uvloop, bytes that neither side reads as JSON."""

from __future__ import annotations

import asyncio

import nats

from benchmarks.peers.direct import NATS_SERVER, shape
from tests.support.eventually import eventually_async
from tests.support.processes import Process

SUBJECT = "auth.check_password"


async def serve() -> None:
    client = await nats.connect(f"nats://{shape.ADDRESS}")

    async def check_password(message) -> None:
        await message.respond(b"true" if message.data == shape.PAYLOAD else b"false")

    await client.subscribe(SUBJECT, cb=check_password)
    await asyncio.Event().wait()


class NatsPeer(shape.DirectPeer):
    worker = ("-m", __spec__.name)

    async def open(self) -> None:
        host, _, port = self.address.partition(":")
        self.server = Process([NATS_SERVER.path(), "--addr", host, "--port", port])

        async def connects() -> bool:
            try:
                self.client = await nats.connect(f"nats://{self.address}", allow_reconnect=False)
            except (OSError, nats.errors.Error):
                return False
            return True

        await eventually_async(connects, timeout=20)

    async def close(self) -> None:
        await self.client.close()
        await asyncio.to_thread(self.server.close)

    async def call(self) -> object:
        return (await self.client.request(SUBJECT, shape.PAYLOAD, timeout=5)).data == b"true"


if __name__ == "__main__":
    shape.main(NatsPeer, serve())
