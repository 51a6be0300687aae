"""Whatever a message or a handler does, the host lives on, and whoever is concerned is told."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import lightbus
from lightbus.exceptions import (
    EventNotFound,
    InvalidEventArguments,
    InvalidParameters,
    LightbusTimeout,
    LightbusWorkerError,
    NoWorker,
    ProcedureNotFound,
    ValidationError,
)
from tests.guide.project import Project, printed
from tests.support.eventually import eventually, eventually_async
from tests.support.patient import patient
from tests.support.processes import Process
from tests.support.servers import Server
from tests.support.timers import HOUR, an_hour_passes

UNKIND = """
    import asyncio
    import math
    from typing import Any

    from lightbus import Api, Backoff, DeliveryPolicy, Event


    class Unprintable(Exception):
        def __repr__(self):
            raise RuntimeError('no repr')

        __str__ = __repr__


    class Fatal(BaseException):
        pass


    MISDEEDS = {
        'raise': lambda: ValueError('no such user'),
        'exit': lambda: SystemExit(3),
        'interrupt': KeyboardInterrupt,
        'cancel': asyncio.CancelledError,
        'stop': StopIteration,
        'fatal': lambda: Fatal('odd'),
        'unprintable': Unprintable,
        'surrogate': lambda: ValueError('\\udcff'),
        'long': lambda: ValueError('x' * 3_000_000),
        'group': lambda: ExceptionGroup('several', [ValueError('one'), KeyError('two')]),
    }


    def circle():
        one = []
        one.append(one)
        return one


    def deep():
        value = []
        for _ in range(100_000):
            value = [value]
        return value


    RESULTS = {
        'object': object,
        'function': lambda: circle,
        'nan': lambda: [math.nan, math.inf, 2**70],
        'circle': circle,
        'deep': deep,
        'huge': lambda: 'x' * 3_000_000,
        'surrogate': lambda: '\\udcff',
        'keys': lambda: {(1, 2): 3},
    }


    class UnkindApi(Api):
        happened = Event(parameters=('how',))
        asynchronously = Event(parameters=('how',))

        class Meta:
            name = 'unkind'

        def fine(self, value: int = 1) -> int:
            return value

        def fail(self, how: str):
            raise MISDEEDS[how]()

        async def fail_async(self, how: str):
            raise MISDEEDS[how]()

        def give(self, what: str) -> Any:
            return RESULTS[what]()

        def say_int(self) -> int:
            return 'many'

        async def never(self):
            print('waiting for ever\\n', end='', flush=True)
            await asyncio.Event().wait()


    def fail(event_message, how):
        print(f'handling {how}\\n', end='', flush=True)
        if how in MISDEEDS:
            raise MISDEEDS[how]()


    async def fail_async(event_message, how):
        fail(event_message, how)


    def before_server_start(bus):
        quick = DeliveryPolicy(attempts=2, backoff=Backoff(initial=0.01, jitter=False))
        bus.unkind.happened.listen(fail, on_error=quick)
        bus.unkind.asynchronously.listen(fail_async, on_error=quick)
"""

MISDEEDS = [
    "raise",
    "exit",
    "interrupt",
    "cancel",
    "stop",
    "fatal",
    "unprintable",
    "surrogate",
    "long",
    "group",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    it = Server("valkey")
    yield it
    it.close()


@pytest.fixture(scope="module")
def unkind(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One host for all of these: none of them may end it."""
    project = Project(tmp_path_factory.mktemp("unkind"), server.url)
    project.write("bus.py", UNKIND)
    host = project.host("--service-name", "unkind", "--set", "bus.drain_timeout=0.5s")
    yield host
    assert host.terminate() == 0, host.output()
    project.close()


@pytest.fixture(scope="module")
def bus(server: Server, unkind: Process) -> Iterator[lightbus.BusPath]:
    it = lightbus.create(patient(server.url), service_name="caller")
    yield it
    it.client.close()


@pytest.fixture(scope="module")
def owner(server: Server, unkind: Process) -> Iterator[lightbus.BusPath]:
    """A bus that may fire the events."""

    class UnkindApi(lightbus.Api):
        happened = lightbus.Event(parameters=("how",))
        asynchronously = lightbus.Event(parameters=("how",))

        class Meta:
            name = "unkind"
            auto_register = False

    it = lightbus.create(patient(server.url), service_name="unkind")
    it.client.register_api(UnkindApi)
    yield it
    it.client.close()


class TestProceduresThatFail:
    @pytest.mark.parametrize("how", MISDEEDS)
    @pytest.mark.parametrize("procedure", ["fail", "fail_async"])
    def test_the_caller_is_told_and_the_next_call_is_answered(
        self, bus: lightbus.BusPath, unkind: Process, procedure: str, how: str
    ) -> None:
        with pytest.raises(
            LightbusWorkerError, match=rf"unkind\.{procedure} failed in its worker: "
        ) as caught:
            getattr(bus.unkind, procedure)(how=how)
        assert len(str(caught.value)) < 20_000
        assert "Traceback" not in str(caught.value)
        assert bus.unkind.fine() == 1
        assert unkind.status is None

    def test_the_error_has_type_and_text_and_the_host_logs_the_traceback(
        self, bus: lightbus.BusPath, unkind: Process
    ) -> None:
        with pytest.raises(LightbusWorkerError, match=r"ValueError\('no such user'\)"):
            bus.unkind.fail(how="raise")
        unkind.wait_for_line("ValueError: no such user")
        assert "unkind.fail (call " in unkind.output()

    @pytest.mark.parametrize("what", ["object", "function", "circle", "deep", "huge", "surrogate", "keys"])
    def test_a_result_that_cannot_be_sent(self, bus: lightbus.BusPath, what: str) -> None:
        with pytest.raises(LightbusWorkerError, match=r"unkind\.give failed in its worker: "):
            bus.unkind.give(what=what)
        assert bus.unkind.fine() == 1

    def test_a_result_of_numbers_that_json_does_not_have(self, bus: lightbus.BusPath) -> None:
        nan, *rest = bus.unkind.give(what="nan")
        assert nan != nan and rest == [float("inf"), 2**70]

    def test_a_result_that_is_not_what_its_hint_says(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(LightbusWorkerError, match="ValidationError"):
            bus.unkind.say_int()

    def test_one_that_never_returns_times_out_alone(self, bus: lightbus.BusPath, unkind: Process) -> None:
        async def impatient() -> None:
            calling = asyncio.ensure_future(bus.unkind.never.call_async(bus_options={"timeout": HOUR}))
            await eventually_async(lambda: "waiting for ever" in unkind.output())
            an_hour_passes()
            with pytest.raises(LightbusTimeout, match=r"gave no answer within 3600 s") as caught:
                await calling
            assert caught.value.executed == "unknown"

        asyncio.run(impatient())
        assert bus.unkind.fine() == 1


class TestCallsThatAreWrong:
    def test_an_unknown_api(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(NoWorker, match=r"nobody serves the API 'ukind'.*; did you mean unkind\?$"):
            bus.ukind.fine()
        with pytest.raises(NoWorker, match=r"nobody serves the API 'other'.*; on the bus there is: .*unkind"):
            bus.other.fine()

    def test_an_unknown_procedure(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(ProcedureNotFound, match=r"has no procedure 'fin'; it has: fail, .*fine"):
            bus.unkind.fin()

    def test_positional_arguments(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(InvalidParameters, match="by name, but 1 came without one; write name=value"):
            bus.unkind.fine(1)

    @pytest.mark.parametrize("arguments", [{}, {"hwo": "raise"}, {"how": "raise", "extra": 1}])
    def test_wrong_names(self, bus: lightbus.BusPath, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=r"how|hwo|extra"):
            bus.unkind.fail(**arguments)

    def test_wrong_types(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(ValidationError, match="value"):
            bus.unkind.fine(value="many")

    def test_a_value_that_cannot_be_sent(self, bus: lightbus.BusPath) -> None:
        with pytest.raises(lightbus.LightbusException, match="value"):
            bus.unkind.fine(value=object())

    @pytest.mark.parametrize("name", ["__class__", "_private", "Meta", "mro", "__init__"])
    def test_nothing_but_procedures_is_reachable(self, bus: lightbus.BusPath, name: str) -> None:
        with pytest.raises(ProcedureNotFound):
            bus.unkind[name]()

    @pytest.mark.parametrize("options", [{"timout": 1}, {"timeout": "1"}, {"timeout": 0}, {"timeout": True}])
    def test_wrong_options(self, bus: lightbus.BusPath, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidParameters, match="timeout"):
            bus.unkind.fine(bus_options=options)


class TestMessagesByHand:
    """What no Lightbus client would send."""

    @pytest.mark.parametrize(
        "blob",
        [
            b"",
            b"not JSON",
            b"\xff\xfe\x00",
            b"null",
            b"[]",
            b'"text"',
            b"{}",
            b'{"metadata": {}, "kwargs": {}}',
            b'{"metadata": [], "kwargs": []}',
            b'{"metadata": {"id": "x", "api_name": "unkind", "procedure_name": "fine"}}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
        ],
    )
    def test_is_dropped(self, server: Server, bus: lightbus.BusPath, unkind: Process, blob: bytes) -> None:
        server.execute("RPUSH", "unkind:rpc_queue", blob)
        assert bus.unkind.fine() == 1
        eventually(lambda: server.execute("LLEN", "unkind:rpc_queue") == 0)
        assert unkind.status is None

    @pytest.mark.parametrize("name", ["_fail", "__init__", "Meta", "nope", "x" * 10_000, "fine\nINFO forged"])
    def test_is_answered_with_an_error_where_it_asks_for_something_else(
        self, server: Server, unkind: Process, name: str
    ) -> None:
        identifier = str(uuid.uuid4())
        key = f"lightbus:reply:{'x' * 43}"
        call = {
            "metadata": {
                "id": identifier,
                "api_name": "unkind",
                "procedure_name": name,
                "return_path": f"redis+key://{key}",
            },
            "kwargs": {},
        }
        server.execute("SET", f"rpc_expiry_key:{identifier}", 1)
        server.execute("RPUSH", "unkind:rpc_queue", json.dumps(call))
        answer = server.execute("BLPOP", key, 30, timeout=60)
        assert answer is not None, unkind.output()[-2000:]
        message = json.loads(answer[1])
        assert message["metadata"]["error"] is True
        assert "has no procedure" in message["kwargs"]["result"]
        assert unkind.status is None
        assert "\nINFO forged" not in unkind.output()


class TestEvents:
    @pytest.mark.parametrize("how", MISDEEDS)
    @pytest.mark.parametrize("event", ["happened", "asynchronously"])
    def test_a_handler_that_fails_is_tried_again_and_the_next_event_is_handled(
        self, owner: lightbus.BusPath, unkind: Process, server: Server, event: str, how: str
    ) -> None:
        listener = "fail" if event == "happened" else "fail_async"
        dead = f"{{unkind.*:stream}}:dead:unkind-{listener}"
        before, buried = printed(unkind).count(f"handling {how}"), server.execute("XLEN", dead)
        owner.unkind[event].fire(how=how)
        owner.unkind[event].fire(how=f"well, after {event} {how}")
        unkind.wait_for_line(f"handling well, after {event} {how}")
        eventually(lambda: printed(unkind).count(f"handling {how}") == before + 2, what="a second attempt")
        eventually(lambda: server.execute("XLEN", dead) == buried + 1, what="a dead letter")
        assert unkind.status is None

    def test_an_unknown_event(self, owner: lightbus.BusPath) -> None:
        with pytest.raises(EventNotFound, match="has no event 'hapened'; it has: asynchronously, happened"):
            owner.unkind.hapened.fire(how="x")

    @pytest.mark.parametrize("arguments", [{}, {"hwo": 1}, {"how": 1, "extra": 2}])
    def test_wrong_names(self, owner: lightbus.BusPath, arguments: dict[str, Any]) -> None:
        with pytest.raises(InvalidEventArguments, match=r"unkind\.happened takes how"):
            owner.unkind.happened.fire(**arguments)

    def test_positional_arguments(self, owner: lightbus.BusPath) -> None:
        with pytest.raises(InvalidParameters, match="by name"):
            owner.unkind.happened.fire("x")

    def test_an_event_that_the_handler_does_not_take(
        self, owner: lightbus.BusPath, unkind: Process, server: Server
    ) -> None:
        """A newer owner has given the event a parameter that this handler knows nothing of."""
        dead = "{unkind.*:stream}:dead:unkind-fail"
        buried = server.execute("XLEN", dead)
        fields = ["api_name", "unkind", "event_name", "happened", "id", "newer", "version", "2"]
        fields += [":how", '"x"', ":since", "1"]
        server.execute("XADD", "unkind.*:stream", "*", *fields)
        eventually(lambda: server.execute("XLEN", dead) == buried + 1, what="a dead letter")
        owner.unkind.happened.fire(how="well, after the newer one")
        unkind.wait_for_line("handling well, after the newer one")
