"""Every name that a user may give works, or is refused when it is given; none of ours is in its way."""

from __future__ import annotations

import ast
import asyncio
import functools
import keyword
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lightbus
from lightbus import Api, BusPath, Event, Parameter
from lightbus.cli.arguments import parse
from lightbus.declared.definition import OPTIONS, RESERVED
from lightbus.declared.schedule import Scope
from lightbus.exceptions import InvalidListener, InvalidName, InvalidParameters, InvalidSchedule
from lightbus.manifest.load import load
from lightbus.manifest.problems import InvalidManifest
from lightbus.testing import Hosted, bus_mocker, hosted

#: What Lightbus's own functions call their parameters.
OWN = sorted(
    {
        argument.arg
        for file in Path(lightbus.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    }
)
ATTRIBUTES = sorted(name for name in dir(BusPath) if not name.startswith("_"))
PUBLIC = [name for name in OWN if not name.startswith("_")]

identifiers = st.from_regex(r"[^\W\d]\w{0,8}", fullmatch=True).filter(str.isidentifier)
NAMES = (
    st.sampled_from(
        [*OWN, *ATTRIBUTES, "__init__", "__call__", "_private", "Meta", "é", "\ufb01", "type", "match"]
    )
    | st.sampled_from(keyword.kwlist)
    | identifiers
)


def path_to(bus: BusPath, *names: str) -> BusPath:
    """What ``bus.one.two`` is, keywords of Python included."""
    return functools.reduce(getattr, ".".join(names).split("."), bus)


def define(
    api: str, procedure: str, event: str, parameter: str, heard: list[Any], listener: str
) -> ModuleType:
    """A bus module in which each thing has the name given, and both kinds of each function are there."""

    def answer(*args: Any, **kwargs: Any) -> Any:
        return kwargs

    async def answer_async(*args: Any, **kwargs: Any) -> Any:
        return kwargs

    def hear(*args: Any, **kwargs: Any) -> None:
        heard.append(kwargs)

    async def hear_async(*args: Any, **kwargs: Any) -> None:
        heard.append(kwargs)

    def hear_many(messages: Any) -> None:
        heard.extend(message.kwargs for message in messages)

    meta = type("Meta", (), {"name": api, "auto_register": False})
    members = {procedure: answer, f"{procedure}_too": answer_async} if procedure else {}
    events = {event: Event(parameters=(Parameter(parameter, str),))}
    cls: Any = type("GivenApi", (Api,), {**members, **events, "Meta": meta})

    module = ModuleType("given_bus")

    def before_server_start(bus: BusPath) -> None:
        path = path_to(bus, api, event)
        for number, handler in enumerate((hear, hear_async, hear_many)):
            options = {"batch": 2} if handler is hear_many else None
            path.listen(handler, listener_name=f"{listener}{number or ''}", bus_options=options)

    module.__dict__.update(GivenApi=cls, before_server_start=before_server_start)
    cls.__module__ = module.__name__
    return module


def use(host: Hosted, api: str, procedure: str, event: str, parameter: str) -> None:
    """Call and fire from synchronous code."""
    value: Any = {parameter: "x"}
    for name in (procedure, f"{procedure}_too"):
        assert path_to(host.bus, api, name)(**value) == value
        assert path_to(host.bus, api, name).call(**value) == value
    path_to(host.bus, api, event).fire(**value)
    path_to(host.bus, api, event).fire_many([value])
    host.settle()


async def use_async(host: Hosted, api: str, procedure: str, event: str, parameter: str) -> None:
    """Call and fire from an event loop."""
    value: Any = {parameter: "x"}
    for name in (procedure, f"{procedure}_too"):
        assert await path_to(host.bus, api, name).call_async(**value) == value
    await path_to(host.bus, api, event).fire_async(**value)
    await path_to(host.bus, api, event).fire_many_async([value])
    await host.settle_async()


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES, NAMES, NAMES, NAMES, st.booleans())
@example("math", "plot", "plotted", "function", "function", False)
@example("math", "plot", "plotted", "self", "self", False)
@example("math", "plot", "plotted", "self", "self", True)
@example("math", "plot", "plotted", "event_message", "event_message", False)
@example("math", "plot", "plotted", "from", "import", True)
@example("import", "class", "def", "lambda", "return", False)
@example("client", "plot", "plotted", "x", "x", False)
@example("math.call", "plot", "plotted", "x", "x", False)
@example("math", "call", "plotted", "x", "x", False)
@example("math", "plot", "fire_async", "x", "x", False)
@example("math", "plot", "plotted", "bus_options", "x", False)
@example("math", "plot", "_plotted", "x", "x", False)
def test_a_name_works_or_is_refused_when_it_is_given(
    api: str, procedure: str, event: str, parameter: str, listener: str, in_a_loop: bool
) -> None:
    if procedure.startswith("_") or event in (procedure, f"{procedure}_too", "Meta") or procedure == "Meta":
        procedure = "plot"
    heard: list[Any] = []
    try:
        module = define(api, procedure, event, parameter, heard, listener)
        if in_a_loop:

            async def run() -> None:
                async with hosted(module.GivenApi, module) as host:
                    await use_async(host, api, procedure, event, parameter)

            asyncio.run(run())
        else:
            with hosted(module.GivenApi, module) as host:
                use(host, api, procedure, event, parameter)
    except (InvalidName, InvalidListener, lightbus.exceptions.MisconfiguredApiOptions) as e:
        assert any(repr(name)[1:-1] in str(e) for name in (api, procedure, event, parameter, listener)), e
        return
    assert heard == [{parameter: "x"}] * 6


CALLED: list[str] = []


def call_it() -> None:
    CALLED.append("manifest")


async def call_it_async() -> None:
    CALLED.append("manifest")


@settings(max_examples=60, deadline=None)
@given(NAMES | st.text(), st.sampled_from(["service", "process"]))
@example("a:b {c} * %s \\", "service")
@example("<lambda>", "service")
@example("tick", "service")
@example("", "service")
@example("two\nlines", "process")
@example("\ud800", "service")
@example("\0", "service")
@example("5", "service")
@example("x", "service")
@example("x-y", "service")
def test_a_schedule_of_any_name_runs_or_is_refused_when_it_is_declared(name: str, scope: Scope) -> None:
    CALLED.clear()
    bus, expected = lightbus.create({"service_name": "clock"}), []
    for number, end in enumerate(("", "_too")):
        function = [lambda: CALLED.append("code"), call_it_async][number]
        try:
            bus.client.every(seconds=1, name=f"{name}{end}", scope=scope)(function)
        except InvalidSchedule as e:
            assert not f"{name}{end}".isprintable() and repr(f"{name}{end}") in str(e)
        else:
            expected += ["code" if number == 0 else "manifest"] * 2
    schedules = {
        name: {"every": "1s", "scope": scope, "call": f"{__name__}:call_it"},
        f"{name}-too": {"every": "1s", "scope": scope, "call": f"{__name__}:call_it_async"},
    }
    config: dict[str, Any] = {"service_name": "clock", "schedules": schedules}
    try:
        load(create_arguments=config, look_around=False, environ={})
    except InvalidManifest as e:
        assert "can't be a name; use letters, digits, _, - and dots" in str(e)
        config.pop("schedules")
    else:
        bus.client.parts.declarations.recurring.clear()
        # Keys that begin with x- are the user's own, and mean nothing.
        expected = ["manifest"] * 2 * sum(not each.startswith("x-") for each in schedules)
    if expected:
        with hosted(bus, config=config) as host:
            host.advance(2)
    assert sorted(CALLED) == sorted(expected)


@pytest.mark.parametrize("name", [5, b"x", ("x",), "two\nlines", "\ud800", "\0", "\x1b[31m"])
def test_a_name_of_a_schedule_that_can_not_be_printed_is_refused(name: Any) -> None:
    bus = lightbus.create({"service_name": "clock"})
    with pytest.raises(InvalidSchedule, match="a schedule can't be named"):
        bus.client.every(seconds=1, name=name)(call_it)


def test_parameters_may_have_all_names_of_our_own_parameters() -> None:
    names = [name for name in OWN if name != OPTIONS and not keyword.iskeyword(name)]
    assert {"self", "function", "callbacks", "event_message", "client", "kwargs"} <= {*names}
    given: Any = {name: index for index, name in enumerate(names)}
    scope: dict[str, Any] = {}
    # All of them by their names, not by **kwargs, which would hide that one is in the way.
    body = f"(api_itself, {', '.join(names)}): return {{{', '.join(f'{n!r}: {n}' for n in names)}}}"
    exec(f"def plot{body}\nasync def plot_too{body}", scope)
    events = [name for name in names if not name.startswith("_")]
    heard: list[Any] = []
    of_event = f"(message_itself, {', '.join(events)}): list_of_the_test.append(({', '.join(events)}))"
    scope["list_of_the_test"] = heard
    exec(f"def hear{of_event}\nasync def hear_too{of_event}", scope)
    meta = type("Meta", (), {"name": "math", "auto_register": False})
    plotted = Event(parameters=tuple(Parameter(name, int) for name in events))
    members = {"plot": scope["plot"], "plot_too": scope["plot_too"], "plotted": plotted, "Meta": meta}
    cls: Any = type("MathApi", (Api,), members)
    module = ModuleType("math_bus")

    def before_server_start(bus: BusPath) -> None:
        bus.math.plotted.listen(scope["hear"])
        bus.math.plotted.listen(scope["hear_too"])

    module.__dict__["before_server_start"] = before_server_start
    with hosted(cls, module) as host:
        assert host.bus.math.plot(**given) == host.bus.math.plot_too(**given) == given
        fired: Any = {name: given[name] for name in events}
        host.bus.math.plotted.fire(**fired)
        host.settle()
    assert heard == [tuple(given[name] for name in events)] * 2


def test_procedures_and_apis_may_have_the_names_of_our_own_parameters() -> None:
    names = [name for name in PUBLIC if name not in RESERVED]

    def answer(self: Any, x: int) -> int:
        return x

    meta = type("Meta", (), {"name": f"a.{'.'.join(names)}", "auto_register": False})
    cls: Any = type("AllApi", (Api,), {**dict.fromkeys(names, answer), "Meta": meta})
    with hosted(cls) as host:
        for name in names:
            assert path_to(host.bus, "a", *names, name)(x=1) == 1


def test_what_a_path_of_the_bus_has_of_its_own_is_reserved() -> None:
    assert sorted(RESERVED) == ATTRIBUTES


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_name_that_can_not_be_reached_is_refused_with_its_place(name: str) -> None:
    def answer(self: Any) -> None: ...

    def make(api: str, **members: Any) -> None:
        meta = type("Meta", (), {"name": api, "auto_register": False})
        type("GivenApi", (Api,), {**members, "Meta": meta})

    whole = rf"an API can't be named '{name}', since bus.<api>.{name} is Lightbus's own; choose another name$"
    for api, told in (
        (name, whole),
        (f"a.{name}.b", f"an API can't be named 'a.{name}.b', since bus.<api>.{name} is"),
    ):
        with pytest.raises(InvalidName, match=told):
            make(api)
    with pytest.raises(InvalidName, match=f": a procedure of the API 'math' can't be named '{name}'"):
        make("math", **{name: answer})
    with pytest.raises(InvalidName, match=f": an event of the API 'math' can't be named '{name}'"):
        make("math", **{name: Event()})


def test_a_parameter_that_calling_takes_for_itself_is_refused_with_its_place() -> None:
    with pytest.raises(
        InvalidName, match=r"test_names.py:\d+: math.plot\(\) can't have a parameter named 'bus_op"
    ):

        class MathApi(Api):
            class Meta:
                name = "math"
                auto_register = False

            def plot(self, bus_options: int) -> None: ...

    with pytest.raises(
        InvalidName, match=r"math\.plotted can't have a parameter named 'bus_options', which call"
    ):

        class OtherApi(Api):
            plotted = Event(parameters=("bus_options",))

            class Meta:
                name = "math"
                auto_register = False


class TakesAnyApi(Api):
    """Its names are anybody's."""

    plotted = Event(parameters=("event_message",))

    class Meta:
        name = "any"
        auto_register = False

    def plot(self, **kwargs: int) -> dict[str, int]:
        return kwargs


def test_what_python_gives_itself_is_refused_where_anything_is_taken() -> None:
    with hosted(TakesAnyApi) as host:
        assert host.bus.any.plot(function=1) == {"function": 1}
        with pytest.raises(
            lightbus.exceptions.LightbusWorkerError, match=r"any.plot takes .*unknown: 'self'"
        ):
            host.bus.any.plot(self=1)
    with pytest.raises(InvalidParameters, match="unknown: 'self'"):
        TakesAnyApi.__lightbus__.procedure("plot").check_arguments({"self": 1})


def test_a_listener_whose_message_has_the_name_of_a_parameter_is_refused() -> None:
    def on_plotted(event_message: Any, **kwargs: Any) -> None: ...

    with hosted(TakesAnyApi) as host, pytest.raises(InvalidListener) as caught:
        host.bus.any.plotted.listen(on_plotted)
    assert "takes the event message as 'event_message', which is a parameter of any.plotted, too" in str(
        caught.value
    )

    def on_plotted_too(event_message: Any, /, **kwargs: Any) -> None: ...

    with hosted(TakesAnyApi) as host:
        host.bus.any.plotted.listen(on_plotted_too)


def test_an_event_with_a_parameter_that_the_message_is_named_by_is_a_dead_letter() -> None:
    def on_any(event_message: Any, **kwargs: Any) -> None: ...

    module = ModuleType("any_bus")
    module.__dict__["before_server_start"] = lambda bus: bus.any["*"].listen(on_any)
    with hosted(TakesAnyApi, module) as host:
        host.bus.any.plotted.fire(event_message=1)
        host.settle()
        (letter,) = host.dead_letters("on_any")
        assert "takes the event message as 'event_message'" in letter.error


def test_mocks_take_any_name() -> None:
    with hosted(TakesAnyApi) as host, bus_mocker(host.bus, require_mocking=False) as mock:
        mock.mock_rpc_call("any.plot", result={})
        assert host.bus.any.plot(function=1, mock=1, name=1, client=1) == {}
        host.bus.any.plotted.fire(event_message=1)
        assert mock.get_event_messages()[0].kwargs == {"event_message": 1}


@given(NAMES)
def test_the_command_line_takes_any_name(name: str) -> None:
    assert parse([f"{name}=1"], None) == {name: 1}
