"""What plugins add to the wire, and what Lightbus 1.x makes of it."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

import lightbus
from lightbus.plugins.tracing import TracingPlugin
from tests.support.eventually import eventually
from tests.support.patient import patient
from tests.support.processes import lightbus_process
from tests.support.servers import Server
from tests.wire.conftest import StartHost
from tests.wire.peer_1x import ROOT, Peer
from tests.wire.test_interop import wait_for_contract


def test_a_1x_worker_answers_a_call_that_is_traced(
    peer: Peer, peer_worker: StartHost, shared_redis: Server
) -> None:
    peer_worker("owner")
    wait_for_contract(shared_redis)
    provider = TracerProvider()
    bus = lightbus.create(config=patient(shared_redis.url), plugins=[TracingPlugin(provider)])
    with provider.get_tracer("tests").start_as_current_span("outside"):
        assert bus.auth.check_password(username="admin", password="secret") is True
    bus.client.close()
    provider.shutdown()


def test_our_workers_tell_of_themselves_as_1x_does(peer: Peer, shared_redis: Server) -> None:
    """The names of the arguments are those of the contract that 1.x publishes of its own events."""
    args = ["--bus", "tests.wire.our_bus", "--service-name", "new"]
    args += ["--set", f"bus.redis.url={shared_redis.url}", "--set", "plugins.internal_state.enabled=true"]
    with lightbus_process("run", *args, cwd=ROOT, env={"OUR_ROLES": "owner"}) as host:
        host.wait_for_line("ready: ")
        ours = json.loads(shared_redis.execute("GET", "schema:internal.state"))
        assert host.terminate() == 0
    shared_redis.execute("DEL", "schema:internal.state")
    with peer.worker("owner"):
        blob: Any = eventually(lambda: shared_redis.execute("GET", "schema:internal.state"))
    theirs = json.loads(blob)
    for name in ("worker_started", "worker_ping", "worker_stopped"):
        properties = [schema["events"][name]["parameters"]["properties"].keys() for schema in (ours, theirs)]
        assert properties[0] == properties[1]
