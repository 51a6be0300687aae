"""Plugins that can't be imported or made, and hooks that raise."""

from __future__ import annotations

import pytest

from tests.guide.project import Project, printed
from tests.guide.test_plugins import BUS, CALL, ENABLED, FIRE, PLUGIN, install
from tests.support.eventually import eventually

FAILING = """
    from lightbus import LightbusPlugin


    class Acme(LightbusPlugin):
        async def {hook}(self, **kwargs):
            raise RuntimeError('acme is down')
"""


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        ("import no_such_thing", "acme:Acme can't be imported: ModuleNotFoundError: No module named"),
        ("raise OSError('no disk')", "acme:Acme can't be imported: OSError: no disk"),
        ("Acme = 5", "acme:Acme is not a class derived from LightbusPlugin"),
        (PLUGIN + "        say('x')\n        oops\n", "acme:Acme can't be imported: NameError"),
        (
            PLUGIN.replace("return cls(greeting, interval)", "raise KeyError('token')"),
            "acme.Acme.from_config() failed: KeyError: 'token'",
        ),
        (
            PLUGIN.replace("return cls(greeting, interval)", "return None"),
            "acme.Acme.from_config() returned NoneType, not a plugin",
        ),
        (PLUGIN.replace("Duration(5), 'How", "5, 'How").replace("interval: Duration", "interval: object"),
         "the options of the plugin can't be used: Options.interval"),
        (PLUGIN.replace("options = Options", "options = dict"), "it takes a frozen dataclass derived from"),
    ],
)  # fmt: skip
def test_one_that_cannot_be_made_is_told_where_it_is_asked_for(
    project: Project, plugin: str, told: str
) -> None:
    install(project, plugin)
    project.write("lightbus.yaml", ENABLED)
    for words in (("run",), CALL, ("check", "--imports")):
        done = project.run(*words)
        output = done.stdout + done.stderr
        assert done.returncode == 78, output
        assert told in output
        assert "lightbus.yaml:1:" in output and "plugins.acme" in output
        assert "Traceback" not in output
    said = project.python("-c", "import lightbus; lightbus.create()").stderr
    assert "ManifestError" in said or "InvalidManifest" in said
    assert told in said


@pytest.mark.parametrize("hook", ["before_rpc_call", "before_event_sent"])
def test_a_before_hook_that_fails_in_a_client_goes_to_the_caller(project: Project, hook: str) -> None:
    install(project, FAILING.format(hook=hook))
    host = project.host()
    project.write("lightbus.yaml", "plugins: {acme: {enabled: true}}\n")
    words = (
        ["call", "auth.greet", "name=Ada"]
        if "rpc" in hook
        else ["fire", "auth.user_registered", "username=a"]
    )
    done = project.run(*words)
    assert done.returncode == 1
    where = f"acme.py:6: {hook} (acme.Acme.{hook})"
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"{where} raised RuntimeError: acme is down\n")
    assert printed(host) == []


def test_so_does_one_of_a_bus_module(project: Project) -> None:
    hooked = """

    import lightbus

    bus = lightbus.create()


    @bus.client.before_event_sent
    def count(event_message, client):
        raise KeyError('quota')
    """
    project.write("bus.py", BUS + hooked)
    done = project.run(*FIRE)
    assert done.returncode == 1
    assert done.stderr.endswith("bus.py:35: before_event_sent (bus.count) raised KeyError: 'quota'\n")


@pytest.mark.parametrize("hook", ["after_rpc_call", "after_event_sent", "before_close"])
def test_a_later_hook_that_fails_in_a_client_is_logged(project: Project, hook: str) -> None:
    install(project, FAILING.format(hook=hook))
    project.host()
    project.write("lightbus.yaml", "plugins: {acme: {enabled: true}}\n")
    words = (
        ["fire", "auth.user_registered", "username=a"]
        if "event" in hook
        else ["call", "auth.greet", "name=Ada"]
    )
    done = project.run(*words)
    assert done.returncode == 0
    assert f"a callback of {hook} failed: acme.Acme.{hook}" in done.stderr
    assert "RuntimeError: acme is down" in done.stderr


@pytest.mark.parametrize(
    ("hook", "is_run"),
    [
        ("before_rpc_execution", False),
        ("before_event_execution", False),
        ("around_rpc_execution", False),
        ("around_event_execution", False),
        ("after_rpc_execution", True),
        ("after_event_execution", True),
        ("exception", True),
    ],
)
def test_a_hook_that_fails_in_a_host(project: Project, hook: str, is_run: bool) -> None:
    kind = "" if hook.startswith("around") else "async "
    install(project, FAILING.format(hook=hook).replace("async ", kind))
    project.write("lightbus.yaml", "plugins: {acme: {enabled: true}}\n")
    host = project.host()
    if "event" in hook:
        project.fire("auth.user_registered", username="ada")
        eventually(lambda: "acme is down" in host.output())
        done = "listener ada"
    elif hook == "exception":
        with pytest.raises(Exception, match="not Eve"):
            project.call("auth.greet", name="Eve")
        project.call("auth.greet", name="Ada")
        done = "procedure Ada"
    else:
        said = project.run(*CALL)
        assert said.returncode == (0 if is_run else 1), said.stderr
        assert is_run or "acme is down" in said.stderr
        done = "procedure Ada"
    assert (done in printed(host)) is is_run
    assert host.terminate() == 0
    assert ("put aside as a dead letter" in host.output()) is ("event" in hook and not is_run)
