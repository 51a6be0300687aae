"""The plugins internal_state and internal_metrics: what services tell on the bus about themselves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

import lightbus
from lightbus.exceptions import TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.plugins import telemetry as outbox
from lightbus.plugins.internal_metrics import MetricsPlugin
from lightbus.plugins.telemetry import Outbox
from lightbus.transports.memory.broker import broker
from lightbus.transports.memory.events import MemoryEventTransport
from tests.guide.project import Project, printed
from tests.support.eventually import eventually, eventually_async
from tests.support.servers import Server

BUS = """
    from lightbus import Api, Event


    class AuthApi(Api):
        user_registered = Event(parameters=('username',))

        class Meta:
            name = 'auth'

        def greet(self, name: str) -> str:
            return f'Hello {name}'


    def welcome(event_message, username):
        print('welcome', username, flush=True)


    def before_server_start(bus):
        bus.auth.user_registered.listen(welcome)
"""

BOTH = "{internal_state: {enabled: true}, internal_metrics: {enabled: true}}"


def told(server: Server, api_name: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of an internal API so far: their names and arguments, as they are in Redis."""
    events = []
    for _, fields in server.execute("XRANGE", f"{api_name}.*:stream", "-", "+"):
        entry = {k.decode(): v.decode() for k, v in zip(fields[::2], fields[1::2], strict=True)}
        assert [k for k in entry if k[0] != ":"] == ["id", "api_name", "event_name", "version"]
        kwargs = {name[1:]: json.loads(value) for name, value in entry.items() if name[0] == ":"}
        events.append((entry["event_name"], kwargs))
    return events


def host_manifest(project: Project, server: Server, plugins: str) -> None:
    project.write(
        "lightbus.yaml",
        f"bus: {{redis: {{url: '{server.url}'}}, log_format: text}}\nprocess_name: one\nplugins: {plugins}\n",
    )


def test_a_worker_tells_that_it_starts_lives_and_stops(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    host_manifest(project, redis_server, "{internal_state: {enabled: true, ping_interval: 100ms}}")
    before = time.time()
    host = project.host()
    eventually(lambda: len(told(redis_server, "internal.state")) >= 3)
    assert "plugins: internal_state" in host.output()
    assert host.terminate() == 0
    events = told(redis_server, "internal.state")
    assert [name for name, _ in events[:3]] == ["worker_started", "worker_ping", "worker_ping"]
    started = events[0][1]
    assert before < started.pop("timestamp") < events[1][1]["timestamp"] < time.time()
    assert started == {
        "service_name": "auth",
        "process_name": "one",
        "metrics_enabled": False,
        "api_names": ["auth"],
        "listening_for": ["auth.user_registered"],
        "ping_interval": 0.1,
    }
    name, stopped = events[-1]
    assert (name, sorted(stopped), stopped["process_name"]) == (
        "worker_stopped",
        ["process_name", "timestamp"],
        "one",
    )


@pytest.mark.parametrize("ping_enabled", [True, False])
def test_it_need_not_tell_that_it_lives(project: Project, redis_server: Server, ping_enabled: bool) -> None:
    project.write("bus.py", BUS)
    options = f"{{enabled: true, ping_interval: 100ms, ping_enabled: {str(ping_enabled).lower()}}}"
    host_manifest(
        project, redis_server, f"{{internal_state: {options}, internal_metrics: {{enabled: true}}}}"
    )
    host = project.host()
    if ping_enabled:
        eventually(lambda: len(told(redis_server, "internal.state")) >= 2)
    else:
        time.sleep(0.3)
    host.terminate()
    names = [name for name, _ in told(redis_server, "internal.state")]
    assert ("worker_ping" in names) is ping_enabled
    assert (names[0], names[-1]) == ("worker_started", "worker_stopped")
    assert told(redis_server, "internal.state")[0][1]["metrics_enabled"] is True


def test_every_service_tells_and_any_may_listen(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    project.write(
        "watch.py",
        """
        def note(event_message, **kwargs):
            print(event_message.canonical_name, kwargs['process_name'], flush=True)


        def before_server_start(bus):
            bus.client.listen_for_event('internal.state', '*', note)
        """,
    )
    host_manifest(project, redis_server, BOTH)
    watcher = project.host("--bus", "watch", "--service-name", "watcher", "--process-name", "two")
    host = project.host()
    eventually(lambda: "internal.state.worker_started one" in printed(watcher))
    assert redis_server.execute("EXISTS", "schema:internal.state", "schema:internal.metrics") == 2
    assert host.terminate() == 0
    eventually(lambda: "internal.state.worker_stopped one" in printed(watcher))
    assert "owns the API" not in watcher.output() + host.output()
    assert redis_server.execute("EXISTS", "schema:internal.state") == 1  # the other one still stands for it
    assert redis_server.execute("KEYS", "*internal*rpc_queue*") == []


def test_a_host_of_nothing_but_these_has_nothing_to_host(project: Project, redis_server: Server) -> None:
    project.write("bus.py", "")
    host_manifest(project, redis_server, "{internal_state: {enabled: true}}")
    status, output = project.refused()
    assert status == 78
    assert "there is nothing to host" in output


def test_a_host_that_never_started_does_not_tell_that_it_stopped(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS + "        raise OSError('no disk')\n")
    host_manifest(project, redis_server, "{internal_state: {enabled: true}}")
    status, _ = project.refused()
    assert status == 78
    assert redis_server.execute("EXISTS", "internal.state.*:stream") == 0


def test_every_step_of_calls_and_events_is_told(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    host_manifest(project, redis_server, "{internal_metrics: {enabled: true}}")
    host = project.host()
    said = project.script(
        """
        import lightbus
        from bus import AuthApi

        bus = lightbus.create(process_name='script')
        bus.auth.greet(name='Ada')
        print(bus.auth.user_registered.fire(username='ada').id)
        """,
        LIGHTBUS_PROCESS_NAME="script",
    )
    assert host.terminate() == 0
    events = told(redis_server, "internal.metrics")
    by_name = dict(events)
    assert len(by_name) == len(events) == 7
    who = {"service_name": "auth", "process_name": "one"}
    client = {**who, "process_name": "script"}
    for kwargs in by_name.values():
        assert abs(time.time() - kwargs.pop("timestamp")) < 60
    call_id = by_name["rpc_call_sent"]["id"]
    call = {"id": call_id, "api_name": "auth", "procedure_name": "greet"}
    event = {"event_id": said.strip(), "api_name": "auth", "event_name": "user_registered"}
    event["kwargs"] = {"username": "ada"}  # type: ignore[assignment]
    assert by_name == {
        "rpc_call_sent": {**client, **call, "kwargs": {"name": "Ada"}},
        "rpc_call_received": {**who, **call},
        "rpc_response_sent": {**who, **call, "result": "Hello Ada"},
        "rpc_response_received": {**client, **call},
        "event_fired": {**client, **event},
        "event_received": {**who, **event},
        "event_processed": {**who, **event},
    }


def test_telling_about_events_tells_of_no_more_events(project: Project, redis_server: Server) -> None:
    project.write(
        "bus.py",
        BUS
        + """
        bus.client.listen_for_event('internal.metrics', '*', note)


    def note(event_message, **kwargs):
        print(event_message.event_name, flush=True)
""",
    )
    host_manifest(project, redis_server, BOTH)
    host = project.host()
    project.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    project.fire("auth.user_registered", username="ada")
    eventually(lambda: printed(host).count("event_processed") == 1)
    assert host.terminate() == 0
    assert [name for name, _ in told(redis_server, "internal.metrics")] == [
        "event_received",
        "event_processed",
    ]


class Broken(MemoryEventTransport):
    """A broker that is away for a while."""

    def __init__(self) -> None:
        self.is_away = True
        self.asked = 0

    async def publish(self, messages: Any, timeout: float, dedupe: float | None = None) -> None:
        self.asked += 1
        if self.is_away:
            raise TransportUnavailable("gone for lunch")
        await super().publish(messages, timeout, dedupe)


@pytest.fixture
def bus() -> Iterator[lightbus.BusPath]:
    """A bus in memory."""
    memory: dict[str, Any] = {"memory": {}}
    api = dict.fromkeys(("rpc_transport", "event_transport", "result_transport"), memory)
    yield lightbus.create({"apis": {"default": api}, "bus": {"schema": {"transport": memory}}}, plugins=[])


def waiting() -> list[EventMessage]:
    return [stored.copy() for stored in broker().history]


async def test_what_a_broker_does_not_take_waits_and_is_said_once(
    bus: lightbus.BusPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    transport = Broken()
    monkeypatch.setattr(type(bus.client.transports()), "event", lambda *_: transport)
    box = Outbox("internal.metrics")
    for number in range(3):
        box.put(bus.client, "event_fired", {"number": number})
    await eventually_async(lambda: transport.asked >= 2)
    assert caplog.text.count("events of internal.metrics wait: gone for lunch") == 1
    transport.is_away = False
    await eventually_async(waiting)
    assert [message.kwargs["number"] for message in waiting()] == [0, 1, 2]
    await bus.client.close_async()
    await box.flush()


async def test_of_too_many_the_oldest_are_dropped(
    bus: lightbus.BusPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "MOST_WAITING", 5)
    box = Outbox("internal.metrics")
    for number in range(12):
        box.put(bus.client, "event_fired", {"number": number})
    await box.flush()
    assert [message.kwargs["number"] for message in waiting()] == [7, 8, 9, 10, 11]
    assert "events of internal.metrics that were dropped meanwhile: 7" in caplog.text


async def test_one_that_cannot_travel_keeps_no_other_from_travelling(
    bus: lightbus.BusPath, caplog: pytest.LogCaptureFixture
) -> None:
    box = Outbox("internal.metrics")
    for value in ("a", "x" * 2**21, "b"):
        box.put(bus.client, "event_fired", {"value": value})
    await box.flush()
    assert [message.kwargs["value"] for message in waiting()] == ["a", "b"]
    assert "an event of internal.metrics is left out" in caplog.text


async def test_at_the_end_it_waits_a_little_for_a_broker_that_is_away(
    bus: lightbus.BusPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "_LAST_WORDS", 0.3)
    transport = Broken()
    monkeypatch.setattr(type(bus.client.transports()), "event", lambda *_: transport)
    box = Outbox("internal.metrics")
    box.put(bus.client, "event_fired", {})
    await box.flush()
    assert "events of internal.metrics that could not be sent before the end: 1" in caplog.text


async def test_many_are_sent_with_one_write_and_none_is_waited_for(
    bus: lightbus.BusPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = Broken()
    transport.is_away = False
    monkeypatch.setattr(type(bus.client.transports()), "event", lambda *_: transport)
    plugin = MetricsPlugin()
    for _ in range(100):
        await plugin.after_event_sent(
            event_message=EventMessage("auth", "user_registered"), client=bus.client
        )
    assert transport.asked == 0
    await asyncio.sleep(0)
    await bus.client.close_async()
    await plugin.before_close(client=bus.client)
    assert (transport.asked, len(waiting())) == (1, 100)
