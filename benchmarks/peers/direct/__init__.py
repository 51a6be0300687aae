"""Ways to call another service that need no Redis, measured as calls of Lightbus are; there are no events."""

from __future__ import annotations

from benchmarks.peers import Peer, Program

#: Debian's package of that name; `make bench-peers` unpacks it there where it is not installed.
NATS_SERVER = Program("nats-server", "nats-server/usr/sbin")

DIRECT = (
    Peer(
        "gRPC",
        "direct.grpc",
        (
            "is grpc.aio: protobuf has types, but no other rule is checked. Client and server know each "
            "other's address; a call fails when that server is away.",
        ),
    ),
    Peer(
        "FastAPI",
        "direct.fastapi",
        (
            "is uvicorn, called by aiohttp: the body is checked by pydantic, the answer is not checked by "
            "its caller. A call fails when that server is away.",
        ),
    ),
    Peer(
        "NATS",
        "direct.nats",
        (
            "is nats-server with nats-py, at most once: the bytes are compared and not read, and neither "
            "side checks them. A call that no worker has taken is lost with the server.",
        ),
        program=NATS_SERVER,
    ),
)
