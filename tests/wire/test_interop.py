"""A process of Lightbus 1.x and one of ours on one Redis understand each other."""

from __future__ import annotations

import asyncio
import json
import math
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import hiredis
import pytest

import lightbus
from lightbus.contracts.compare import compare
from lightbus.contracts.contract import contract_of
from lightbus.exceptions import InvalidMessage, ValidationError
from tests.conftest import StartServer
from tests.support.eventually import eventually
from tests.support.patient import patient
from tests.support.servers import Server
from tests.wire.conftest import StartHost
from tests.wire.our_bus import AuthApi, Colour, Item, Point
from tests.wire.peer_1x import Peer, PeerError, heard

STREAM = "auth.*:stream"
ORDER: dict[str, Any] = {
    "item": {"sku": "x", "qty": 3},
    "price": "1.50",
    "when": "2026-01-02T03:04:05",
    "note": "soon",
}
RECEIPT = {"total": "4.50", "item": "Item", "year": 2026, "note": "soon"}
ECHO: dict[str, Any] = {
    "item": {"sku": "x", "qty": 3},
    "price": "1.50",
    "when": "2026-01-02T03:04:05",
    "day": "2026-01-02",
    "colour": "blue",
    "uid": "12345678-1234-5678-1234-567812345678",
    "pts": [{"x": 1, "y": 2}],
    "raw": "cmF3",
    "note": "soon",
}
USER: dict[str, Any] = {"username": "admin", "email": "admin@example.com", "is_admin": True}


def groups(server: Server) -> set[str]:
    """The consumer groups of the stream so far."""
    try:
        return {bytes(row[1]).decode() for row in server.execute("XINFO", "GROUPS", STREAM)}
    except hiredis.ReplyError:  # no stream yet
        return set()


def wait_for_contract(server: Server) -> None:
    """Wait until the API's owner has published it."""
    eventually(lambda: server.execute("EXISTS", "schema:auth") == 1, what="a published contract")


def wait_for_group(server: Server, name: str) -> None:
    """Wait until a listener hears what is fired from now on."""
    eventually(lambda: name in groups(server), what=f"the group {name}")


def pushes(server: Server) -> int:
    """How many answers were pushed to this Redis since its statistics began."""
    stats = server.execute("INFO", "commandstats").decode()
    found = re.search(r"cmdstat_lpush:calls=(\d+)", stats)
    return int(found[1]) if found else 0


def client(server: Server) -> Any:
    """A bus of ours on this Redis."""
    return lightbus.create(config=patient(server.url))


class TestLightbus1xWithItself:
    """What the other tests stand on."""

    def test_calls_and_is_answered(self, peer: Peer, peer_worker: StartHost, shared_redis: Server) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        assert peer.call("auth.check_password", username="admin", password="secret") is True
        assert peer.call("auth.order", **ORDER) == RECEIPT

    def test_fires_and_is_heard(self, peer: Peer, peer_worker: StartHost, shared_redis: Server) -> None:
        worker = peer_worker("owner", "listener")
        wait_for_group(shared_redis, "old-on_user")
        identifier = peer.fire("user_registered", **USER)
        events = eventually(lambda: heard(worker))
        assert events == [{"id": identifier, "event": "auth.user_registered", "kwargs": USER, "version": 3}]


class TestA1xClientAndOurHost:
    def test_a_call_is_answered(self, peer: Peer, our_host: StartHost, shared_redis: Server) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        assert peer.call("auth.check_password", username="admin", password="secret") is True
        assert peer.call("auth.check_password", username="admin", password="wrong") is False

    def test_values_keep_their_types(self, peer: Peer, our_host: StartHost, shared_redis: Server) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        assert peer.call("auth.order", **ORDER) == RECEIPT

    def test_every_type_passes_its_validation_and_arrives(
        self, peer: Peer, our_host: StartHost, shared_redis: Server
    ) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        types = "Item Decimal datetime date Colour UUID Point bytes raw"
        assert peer.call("auth.echo", **ECHO) == {"soon": {"sku": types, "qty": 3}}
        assert peer.call("auth.echo", **{**ECHO, "note": None}) == {"none": {"sku": types, "qty": 3}}

    def test_an_error_arrives_as_a_worker_error_with_its_text(
        self, peer: Peer, our_host: StartHost, shared_redis: Server
    ) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        with pytest.raises(PeerError, match="no such x: 1") as caught:
            peer.call("auth.boom", x=1)
        assert caught.value.type == "LightbusWorkerError"

    def test_it_validates_against_the_contract_that_we_publish(
        self, peer: Peer, our_host: StartHost, shared_redis: Server
    ) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        with pytest.raises(PeerError) as caught:
            peer.call("auth.check_password", username=1, password="secret")
        assert caught.value.type == "ValidationError"


class TestOurClientAndA1xWorker:
    def test_calls_are_answered_onto_our_one_reply_list(
        self, peer_worker: StartHost, shared_redis: Server
    ) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)

        async def scenario() -> list[Any]:
            bus = client(shared_redis)
            try:
                call = bus.auth.check_password.call_async
                passwords = ["secret", "wrong"] * 25
                return await asyncio.gather(*(call(username="admin", password=each) for each in passwords))
            finally:
                await bus.client.close_async()

        assert asyncio.run(scenario()) == [True, False] * 25

    def test_values_keep_their_types(self, peer_worker: StartHost, shared_redis: Server) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        bus = client(shared_redis)
        assert bus.auth.order(**ORDER) == RECEIPT
        bus.client.close()

    def test_every_type_passes_both_validations(self, peer_worker: StartHost, shared_redis: Server) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        bus = client(shared_redis)
        values = {
            "item": Item("x", 3),
            "price": Decimal("1.50"),
            "when": datetime(2026, 1, 2, 3, 4, 5),
            "day": date(2026, 1, 2),
            "colour": Colour.BLUE,
            "uid": UUID(ECHO["uid"]),
            "pts": [Point(1, 2)],
            "raw": b"raw",
            "note": "soon",
        }
        receipt = {"soon": {"sku": f"Item 2026-01-02 {ECHO['uid']}", "qty": 3}}
        assert bus.auth.echo(**values) == bus.auth.echo(**ECHO) == receipt
        bus.client.close()

    def test_its_contract_means_the_same_as_ours(self, peer_worker: StartHost, shared_redis: Server) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        theirs = json.loads(shared_redis.execute("GET", "schema:auth"))
        assert compare(theirs, contract_of(AuthApi.__lightbus__), "auth") == []

    def test_we_validate_against_the_contract_that_it_publishes(
        self, peer_worker: StartHost, shared_redis: Server
    ) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        bus = client(shared_redis)
        with pytest.raises(ValidationError):
            bus.auth.check_password(username=1, password="secret")
        bus.client.close()


class TestAnswersOverAnotherRedis:
    @pytest.fixture
    def answers_redis(self, shared_redis: Server, start_server: StartServer) -> Server:
        shared_redis.execute("CONFIG", "RESETSTAT")
        return start_server("redis7")

    @pytest.fixture
    def answers_url(self, answers_redis: Server) -> str:
        return answers_redis.url

    def test_a_1x_client_calls_our_worker(
        self, peer: Peer, our_host: StartHost, shared_redis: Server, answers_redis: Server
    ) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        assert peer.call("auth.check_password", username="admin", password="secret") is True
        assert pushes(answers_redis) == 1 and pushes(shared_redis) == 0

    def test_our_client_calls_a_1x_worker(
        self, peer_worker: StartHost, shared_redis: Server, answers_redis: Server
    ) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        results = {"redis": {"url": answers_redis.url}}
        bus = lightbus.create(config=patient(shared_redis.url, result_transport=results))
        assert bus.auth.check_password(username="admin", password="secret") is True
        bus.client.close()
        assert pushes(answers_redis) == 1 and pushes(shared_redis) == 0


class TestEvents:
    def test_our_listener_hears_a_1x_client(
        self, peer: Peer, our_host: StartHost, shared_redis: Server
    ) -> None:
        host = our_host("listener")
        wait_for_group(shared_redis, "new-on_user")
        identifier = peer.fire("user_registered", **USER)
        events = eventually(lambda: heard(host))
        assert events == [{"id": identifier, "event": "auth.user_registered", "kwargs": USER, "version": 3}]

    def test_a_1x_listener_hears_us(self, peer_worker: StartHost, shared_redis: Server) -> None:
        worker = peer_worker("listener")
        wait_for_group(shared_redis, "old-on_user")
        bus = client(shared_redis)
        bus.client.register_api(AuthApi())
        message = bus.auth.user_registered.fire(**USER)
        bus.client.close()
        events = eventually(lambda: heard(worker))
        assert events == [{"id": message.id, "event": "auth.user_registered", "kwargs": USER, "version": 3}]

    def test_a_1x_listener_finds_nothing_wrong_by_our_contract(
        self, peer_worker: StartHost, our_host: StartHost, shared_redis: Server
    ) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        worker = peer_worker("listener")
        wait_for_group(shared_redis, "old-on_user")
        bus = client(shared_redis)
        bus.client.register_api(AuthApi())
        bus.auth.user_registered.fire(username="admin", email="admin@example.com")
        bus.client.close()
        defaulted = {**USER, "is_admin": False}
        assert [event["kwargs"] for event in eventually(lambda: heard(worker))] == [defaulted]

    def test_our_listener_finds_nothing_wrong_by_a_1x_contract(
        self, peer: Peer, peer_worker: StartHost, our_host: StartHost, shared_redis: Server
    ) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        host = our_host("listener")
        wait_for_group(shared_redis, "new-on_user")
        peer.fire("user_registered", **USER)
        assert [event["kwargs"] for event in eventually(lambda: heard(host))] == [USER]

    def test_both_listen_to_one_stream_each_in_its_own_group(
        self, peer: Peer, peer_worker: StartHost, our_host: StartHost, shared_redis: Server
    ) -> None:
        old, new = peer_worker("owner", "listener"), our_host("listener")
        for name in ("old-on_user", "new-on_user"):
            wait_for_group(shared_redis, name)
        fired = [peer.fire("user_registered", **{**USER, "username": name}) for name in ("one", "two")]
        eventually(lambda: len(heard(old)) == len(heard(new)) == 2)
        assert [event["id"] for event in heard(old)] == [event["id"] for event in heard(new)] == fired


BIG = -(2**70)


class TestNumbersThatPythonAloneWrites:
    """Infinity, what is no number, and integers beyond 64 bits."""

    def test_a_1x_client_is_answered_by_our_host(
        self, peer: Peer, our_host: StartHost, shared_redis: Server
    ) -> None:
        our_host("owner")
        wait_for_contract(shared_redis)
        assert peer.call("auth.same", value=math.inf, number=BIG) == [math.inf, BIG]
        assert math.isnan(peer.call("auth.same", value=math.nan, number=1)[0])

    def test_our_client_is_answered_by_a_1x_worker(
        self, peer_worker: StartHost, shared_redis: Server
    ) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        bus = client(shared_redis)
        assert bus.auth.same(value=-math.inf, number=BIG) == [-math.inf, BIG]
        assert math.isnan(bus.auth.same(value=math.nan, number=1)[0])
        bus.client.close()

    def test_our_listener_hears_them_from_a_1x_client(
        self, peer: Peer, our_host: StartHost, shared_redis: Server
    ) -> None:
        host = our_host("listener")
        wait_for_group(shared_redis, "new-on_measured")
        peer.fire("measured", value=math.inf, number=BIG)
        assert [e["kwargs"] for e in eventually(lambda: heard(host))] == [{"value": math.inf, "number": BIG}]

    def test_a_1x_listener_hears_them_from_us(self, peer_worker: StartHost, shared_redis: Server) -> None:
        worker = peer_worker("listener")
        wait_for_group(shared_redis, "old-on_measured")
        bus = client(shared_redis)
        bus.client.register_api(AuthApi())
        bus.auth.measured.fire(value=math.inf, number=BIG)
        bus.client.close()
        assert [e["kwargs"] for e in eventually(lambda: heard(worker))] == [
            {"value": math.inf, "number": BIG}
        ]

    def test_an_answer_that_cannot_be_read_is_an_error_at_once(
        self, peer_worker: StartHost, shared_redis: Server
    ) -> None:
        peer_worker("owner")
        wait_for_contract(shared_redis)
        bus = client(shared_redis)
        with pytest.raises(
            InvalidMessage, match=r"auth\.many was run, but .* can't be read: more than 10000"
        ):
            bus.auth.many(count=20_000, value=math.nan, bus_options={"timeout": 60})
        bus.client.close()
