"""Runs the commands that the pages show, and writes a picture of each: ``python -m docs.screenshots``.

One more is of an editor, by the answers of a language server.

What differs from one run to the next is replaced: a picture changes only with what it shows.
"""

from __future__ import annotations

import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import redis

from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server, free_port
from tests.support.terminal import on_terminal

from .editor import editor
from .terminal import COLUMNS, picture

DOCS = Path(__file__).parents[1]
PROJECT = Path(__file__).parent / "project"
PICTURES = DOCS / "terminal"
#: The quickstart's page shows the one of `lightbus run` under this name.
QUICKSTART = DOCS / "tutorial" / "static" / "images" / "quickstart-lightbus-run.png"
COMMANDS = {
    "status": "status",
    "dlq": "dlq list",
    "group": "group list",
    "doctor": "doctor",
    "check": "check -c broken.yaml",
    "plan": "plan",
}
#: What differs from one run to the next, and by what it is replaced.
_CHANGING: Mapping[str, str] = {
    r"\b\d\d:\d\d:\d\d\b": "12:00:00",
    r"\b\d{13}-\d\b": "1764000000000-0",
    r"\b[\d.]+[KM](?= of memory)": "1.21M",
    r"\b\d+ clients": "7 clients",
    r"(?<=process )\d+": "4711",
    re.escape(socket.gethostname()) + r"-\d+": "laptop-4711",
    r"(?<=127\.0\.0\.1:)\d+": "6379",
}


def screens() -> Iterator[tuple[str, str]]:
    """Run the commands, and go through the names of their pictures and what they print; an editor is last."""
    with tempfile.TemporaryDirectory() as parent:
        quickstart = Path(parent) / "quickstart"
        quickstart.mkdir()
        page = (DOCS / "tutorial" / "quickstart.md").read_text()
        (quickstart / "bus.py").write_text(page.partition("```python3\n")[2].partition("```")[0])
        yield "run", _screen("run", _first_run(quickstart))
        service = Path(parent) / "auth"
        shutil.copytree(PROJECT, service)
        yield from _of_a_service(service)
    yield "editor", editor()


def _first_run(folder: Path) -> str:
    env = {
        "LIGHTBUS__PROCESS_NAME": "laptop-4711",  # a long name of the machine would break lines
        "LIGHTBUS__BUS__REDIS__EMBEDDED": "true",
        "LIGHTBUS__BUS__REDIS__URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    return on_terminal("run", cwd=folder, env=env, columns=COLUMNS, until=" try: ")[1]


def _of_a_service(folder: Path) -> Iterator[tuple[str, str]]:
    server = Server()
    try:
        _use(folder / "lightbus.yaml", server.port)
        with Process([sys.executable, "-m", "lightbus", "run"], cwd=folder) as host:
            host.wait_for_line("ready: ", 60)
            _give_it_something_to_do(folder, server.port)
            for name, command in COMMANDS.items():
                if name == "plan":
                    _change(folder, server.port)
                _, shown = on_terminal(*command.split(), cwd=folder, env={}, columns=COLUMNS)
                yield name, _screen(command, shown)
    finally:
        server.close()


def _use(manifest: Path, port: int) -> None:
    manifest.write_text(manifest.read_text().replace("127.0.0.1:6379", f"127.0.0.1:{port}"))


def _change(folder: Path, port: int) -> None:
    """Put there what is to be deployed next."""
    shutil.copytree(folder / "next", folder, dirs_exist_ok=True)
    _use(folder / "lightbus.yaml", port)


def _give_it_something_to_do(folder: Path, port: int) -> None:
    def printed(*command: str) -> str:
        return on_terminal(*command, cwd=folder, env={})[1]

    with redis.Redis(port=port) as connection:
        connection.xgroup_create("auth.*:stream", "auth-greet_user", "0", mkstream=True)
        printed("fire", "auth.user_registered", "username=nobody", "email=nobody@example.com")
        dead = "{auth.*:stream}:dead:auth-send_welcome_email"
        eventually(lambda: connection.xlen(dead) == 1, what="a dead letter")
        # From ten seconds to ninety-nine, its age is as wide, however slow the machine is.
        eventually(lambda: _age(connection, dead) >= 10, what="a letter of ten seconds")


def _age(connection: redis.Redis, stream: str) -> float:
    """Return how many seconds ago the newest entry was written."""
    newest: Any = connection.xrevrange(stream, count=1)
    ((entry, _),) = newest
    return time.time() - int(entry.partition(b"-")[0]) / 1000


def _screen(command: str, shown: str) -> str:
    for changing, fixed in _CHANGING.items():
        shown = re.sub(changing, fixed, shown)
    # In a table, it must stay as wide as it was.
    shown = re.sub(r"\b\d+ (s|min) ago", lambda age: "9 s ago".ljust(len(age[0])), shown)
    return f"\x1b[1m$ lightbus {command}\x1b[0m\n{shown.strip()}"


def main() -> None:
    """Write the pictures."""
    from tests.website.checks import browser, find_browser

    PICTURES.mkdir(exist_ok=True)
    for name, screen in screens():
        (PICTURES / f"{name}.svg").write_text(picture(name, screen))
    program = find_browser()
    if program is None:
        sys.exit(f"{QUICKSTART.name} is left as it is: no Chromium is installed")
    with browser(program) as chromium:
        page = chromium.new_page(viewport={"width": 920, "height": 400}, device_scale_factor=1.5)
        page.set_content(f"<body style='margin: 0'>{(PICTURES / 'run.svg').read_text()}</body>")
        page.locator("svg").screenshot(path=QUICKSTART, omit_background=True)


if __name__ == "__main__":
    main()
