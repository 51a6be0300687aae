"""``lightbus shell``."""

from __future__ import annotations

import ast
import asyncio
import code
import inspect
import sys
import traceback
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import click

import lightbus
from lightbus.bus.path import BusPath
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options
from lightbus.cli.plugins import hand_over, spoken
from lightbus.cli.project import project_bus
from lightbus.exceptions import LightbusException
from lightbus.manifest.plugins import enabled_plugins
from lightbus.runtime.portal import portal

_HISTORY = Path("~/.lightbus_history")


@click.command(
    "shell",
    cls=Command,
    epilog="Example: lightbus shell -e \"print(bus.auth.check_password(username='admin'))\"",
)
@click.option("-e", "--execute", "statements", metavar="CODE", help="Run CODE instead of asking for it.")
@click.option("--plain", is_flag=True, help="Use Python's own console, even where IPython is installed.")
@manifest_options
def command(statements: str | None, plain: bool, **options: Any) -> int:
    """Try the bus out in Python: `bus` is ready, and `await` may be used at the top level.

    A program that comes through a pipe is run.
    """
    manifest = begin(options, "warning", "text")
    bus = project_bus(manifest, may_lack_modules=True, fires_imported=True)
    bus.client.use_plugins(enabled_plugins(manifest, bus.client.service_name))
    if bus.client.parts.hooks.receive_args:
        _wait(hand_over(bus.client, spoken()))
    names = {name: getattr(lightbus, name) for name in lightbus.__all__ if name[0] != "_"}
    names |= {"bus": bus, "lightbus": lightbus}
    try:
        if statements is not None or not sys.stdin.isatty():
            return _execute(statements if statements is not None else sys.stdin.read(), names)
        banner = _banner(bus)
        if plain or not _run_ipython(banner, names):
            _Console(names).run(banner)
    finally:
        bus.client.close()
    return 0


def _wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the loop on which the bus's connections live, so that these stay awake between."""
    future = asyncio.run_coroutine_threadsafe(coroutine, portal.loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _run(compiled: CodeType, names: dict[str, Any]) -> None:
    result = FunctionType(compiled, names)()
    if inspect.iscoroutine(result):
        _wait(result)


def _execute(program: str, names: dict[str, Any]) -> int:
    """Run a program; what it raises is its own affair and shown as Python does."""
    names["__name__"] = "__main__"
    try:
        # One statement at a time, since one that awaits runs on an event loop, where no other may block.
        for statement in ast.parse(program, "<shell>").body:
            module = ast.Module([statement], [])
            _run(compile(module, "<shell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    except LightbusException:
        raise
    except Exception as e:
        _print_error(e)
        return 1
    return 0


def _print_error(error: BaseException) -> None:
    """Print an error from the user's own first line on."""
    frames = error.__traceback__
    while frames is not None and not frames.tb_frame.f_code.co_filename.startswith("<"):
        frames = frames.tb_next
    traceback.print_exception(error.with_traceback(frames))


def _banner(bus: BusPath) -> str:
    try:
        names, trouble = bus.schema.api_names, []
    except LightbusException as e:
        names, trouble = bus.client.registry.names(), [str(e)]
    return "\n".join(
        [
            f"Lightbus {lightbus.__version__}, Python {sys.version.split()[0]}",
            f"APIs that are known: {', '.join(names) or 'none yet'}",
            "  bus.auth.check_password(username='admin')                   calls, and waits",
            "  await bus.auth.check_password.call_async(username='admin')  the same, awaited",
            "  bus.auth.user_registered.fire(username='admin')             fires, if the API is yours",
            "  dir(bus.auth)                                               lists what an API has",
            *trouble,
        ]
    )


def _run_ipython(banner: str, names: dict[str, Any]) -> bool:
    """Run IPython; false if it is not installed."""
    try:
        from IPython.terminal.ipapp import TerminalIPythonApp
        from traitlets.config import Config
    except ImportError:
        return False
    config = Config()
    config.InteractiveShell.loop_runner = _wait
    config.InteractiveShell.banner1 = f"{banner}\n"
    app: Any = TerminalIPythonApp.instance(user_ns=names, config=config)
    app.initialize([])
    app.shell.set_custom_exc((LightbusException,), lambda _, kind, error, *__, **___: _tell(error))
    app.start()
    return True


def _tell(error: BaseException) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)


class _Console(code.InteractiveConsole):
    """Python's own console, in which ``await`` may stand anywhere; it remembers what was typed."""

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names, "<console>")
        self._names = names
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def run(self, banner: str) -> None:
        """Ask for statements until there are no more."""
        try:
            import readline
            import rlcompleter
        except ImportError:
            self.interact(banner, exitmsg="")
            return
        history = _HISTORY.expanduser()
        with suppress(OSError):
            readline.read_history_file(history)
        readline.set_completer(rlcompleter.Completer(self._names).complete)
        readline.parse_and_bind("tab: complete")
        try:
            self.interact(banner, exitmsg="")
        finally:
            with suppress(OSError):
                readline.write_history_file(history)

    def runcode(self, code: CodeType) -> None:
        """Run a statement."""
        try:
            _run(code, self._names)
        except (SystemExit, KeyboardInterrupt):
            raise
        except LightbusException as e:
            _tell(e)
        except BaseException as e:
            _print_error(e)
