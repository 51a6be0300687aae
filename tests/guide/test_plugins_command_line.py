"""Plugins may add options and commands to the command line, and learn what it says."""

from __future__ import annotations

import pytest

from tests.guide.project import Project, printed
from tests.guide.test_plugins import BUS, CALL, FIRE, install

PLUGIN = """
    import click

    from lightbus import LightbusPlugin


    class Acme(LightbusPlugin):
        async def before_parse_args(self, *, parser, subparsers):
            for name in ('run', 'call', 'fire', 'shell'):
                option = click.Option(['--flavour'], default='plain', help='Of the month.')
                subparsers[name].params.append(option)
            parser.add_command(click.Command('taste', callback=lambda: print('sweet')))

        async def receive_args(self, args):
            print(args.subcommand, args.flavour, flush=True)
"""
ENABLED = "plugins: {acme: {enabled: true}}\n"


@pytest.mark.parametrize("words", [CALL, FIRE, ("shell", "-e", "print(bus.auth.greet(name='Ada'))")])
@pytest.mark.parametrize("flavour", ["plain", "mint"])
def test_an_option_of_a_plugin(project: Project, words: tuple[str, ...], flavour: str) -> None:
    install(project, PLUGIN)
    host = project.host()
    project.write("lightbus.yaml", ENABLED)
    more = () if flavour == "plain" else (f"--flavour={flavour}",)
    done = project.run(*words, *more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{words[0]} {flavour}"
    assert "plugins:" not in host.output()


@pytest.mark.parametrize("how", [(), ("-c", "other.yaml"), ("--set", "plugins.acme.enabled=true")])
def test_it_is_there_where_the_manifest_of_the_command_switches_the_plugin_on(
    project: Project, how: tuple[str, ...]
) -> None:
    install(project, PLUGIN)
    project.write("other.yaml" if how[:1] == ("-c",) else "lightbus.yaml", "" if "--set" in how else ENABLED)
    host = project.host("--flavour", "mint", *how)
    assert printed(host) == ["run mint"]
    assert "Of the month." in project.run("run", *how, "--help").stdout
    assert project.run("run", "-c", "bus.yaml", "--flavour=mint").returncode == 64


def test_one_that_is_mistyped_is_misuse(project: Project) -> None:
    install(project, PLUGIN)
    project.write("lightbus.yaml", ENABLED)
    done = project.run("run", "--flavor", "mint")
    assert done.returncode == 64
    assert "No such option" in done.stderr


def test_a_command_of_a_plugin(project: Project) -> None:
    install(project, PLUGIN)
    assert project.run("taste").returncode == 64
    project.write("lightbus.yaml", ENABLED)
    assert project.run("taste").stdout == "sweet\n"


def test_a_manifest_with_mistakes_is_told_as_ever(project: Project) -> None:
    install(project, PLUGIN)
    project.write("lightbus.yaml", "plugins: {acme: {enabeld: true}}\n")
    done = project.run("check")
    assert done.returncode == 78
    assert 'plugins.acme.enabeld: unknown key; did you mean "enabled"?' in done.stdout


@pytest.mark.parametrize("hook", ["before_parse_args", "receive_args"])
def test_one_that_fails(project: Project, hook: str) -> None:
    failing = f"""
    from lightbus import LightbusPlugin


    class Acme(LightbusPlugin):
        async def {hook}(self, *args, **kwargs):
            raise KeyError('token')
    """
    install(project, failing)
    project.write("bus.py", BUS)
    project.write("lightbus.yaml", ENABLED)
    status, output = project.refused()
    assert status == 78
    assert f"{hook}() of " in output and "KeyError: 'token'" in output
    assert "Traceback" not in output
    for words in CALL, FIRE, ("shell", "-e", "1"):
        done = project.run(*words)
        assert done.returncode == 78
        assert f"{hook}() of " in done.stderr and "Traceback" not in done.stderr


def test_the_shell_tells_plugins_what_it_was_started_with(project: Project) -> None:
    install(project, PLUGIN.replace("args.flavour", "args.plain"))
    project.write("lightbus.yaml", ENABLED)
    done = project.run("shell", "--plain", "-e", "print('hello')")
    assert (done.returncode, done.stdout) == (0, "shell True\nhello\n"), done.stderr
