"""`lightbus.get_bus()`: the bus that a bus module has made, as in 1.x, for code that has none."""

from __future__ import annotations

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually

BUS = """
    import lightbus

    bus = lightbus.create()

    class AuthApi(lightbus.Api):
        user_registered = lightbus.Event(parameters=('username',))

        class Meta:
            name = 'auth'

    bus.client.register_api(AuthApi())
"""
# What happens to a fire in a program that has only this line.
FIRE = "import lightbus\nprint(lightbus.get_bus({}).auth.user_registered.fire(username='u').event_name)"


@pytest.mark.parametrize("argument", ["", "'bus'", "bus_module_name='bus'"])
def test_imports_the_bus_module(project: Project, argument: str) -> None:
    project.write("bus.py", BUS)
    assert project.script(FIRE.format(argument)) == "user_registered\n"


@pytest.mark.parametrize("module", ["shop.bus", "plain, shop.bus"])
def test_imports_the_modules_that_the_environment_names(project: Project, module: str) -> None:
    project.write("shop/bus.py", BUS)
    project.write("plain.py", "")
    project.write("bus.py", "raise RuntimeError('not this one')")
    assert project.script(FIRE.format(""), LIGHTBUS_MODULE=module) == "user_registered\n"
    assert project.script(FIRE.format("'shop.bus'")) == "user_registered\n"


def test_of_a_module_without_a_bus_is_the_program_s_which_knows_the_module_s_apis(project: Project) -> None:
    project.write("plain.py", "from auth import AuthApi")
    project.write("auth.py", BUS.replace("bus = lightbus.create()", "").partition("    bus.")[0])
    assert project.script(FIRE.format("'plain'")) == "user_registered\n"


def test_without_any_module_is_the_first_that_this_program_made(project: Project) -> None:
    said = project.script(
        """
        import lightbus
        one = lightbus.get_bus()
        two = lightbus.create(service_name='two')
        assert one is lightbus.get_bus() and two is lightbus.get_bus(service_name='two')
        print(one.client.service_name)
        """
    )
    assert said == "project\n"


def test_in_a_host_is_the_host_s(project: Project) -> None:
    project.write(
        "bus.py",
        BUS
        + "    import handlers\n    bus.client.every(seconds=0.1, also_run_immediately=True)(handlers.job)\n",
    )
    project.write(
        "handlers.py",
        """
        import lightbus

        # The module `bus` is being imported still.
        at_import = lightbus.get_bus()

        def job():
            from bus import bus
            print(bus is lightbus.get_bus() is lightbus.get_bus('bus') is at_import, flush=True)
        """,
    )
    host = project.host()
    eventually(lambda: "True" in printed(host), what=host.output())
    assert "False" not in printed(host)


@pytest.mark.parametrize(
    ("call", "files", "said"),
    [
        ("'nope'", {}, "there is no module 'nope'; check the name given to lightbus.get_bus() or by"),
        ("'bus.nope'", {"bus.py": ""}, "there is no module 'bus.nope'"),
        ("", {"bus.py": "bus = 3"}, "bus.bus is of the type int, and no bus; write bus = lightbus.create()"),
        (
            "",
            {"bus.py": "import nope"},
            "importing the module 'bus' raised ModuleNotFoundError: No module na",
        ),
    ],
)
def test_a_module_that_can_not_be_used_is_refused(
    project: Project, call: str, files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        project.write(name, text)
    project.write("script.py", f"import lightbus\nlightbus.get_bus({call})\n")
    done = project.python("script.py")
    assert done.returncode == 1
    assert f"lightbus.exceptions.FailedToImportBusModule: {said}" in done.stderr


def test_what_a_module_raises_comes_through(project: Project) -> None:
    project.write("bus.py", "raise RuntimeError('no database')")
    project.write("script.py", "import lightbus\nlightbus.get_bus()\n")
    assert project.python("script.py").stderr.endswith("RuntimeError: no database\n")
