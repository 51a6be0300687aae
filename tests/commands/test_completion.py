"""``lightbus completion``: in the shells themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lightbus.options import SecretUrl
from lightbus.transports.redis.link.glance import Glance
from lightbus.transports.redis.options import RedisOptions
from tests.conftest import StartServer, missing
from tests.support.eventually import PATIENCE, eventually
from tests.support.processes import clean_environment, finished
from tests.support.proxy import Proxy
from tests.support.servers import Server

BASH = """
eval "$(lightbus completion bash)"
COMP_WORDS=({words}); COMP_CWORD={last}
_lightbus_completion lightbus
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
#: Outside of its line editor, zsh can't show what it is given.
ZSH = """
autoload -U compinit; compinit -u -D
eval "$(lightbus completion zsh)"
_describe() {{ print -rl -- ${{(P)3}} }}
compadd() {{ print -rl -- ${{(P)@[-1]}} }}
words=({words}); CURRENT={last}+1
_lightbus_completion
"""
FISH = """
lightbus completion fish | source
complete -C "{words}"
"""


#: A shell at a terminal, without the settings of anybody, and what is typed there once.
TYPED = {
    "bash": ("bash --norc --noprofile", 'eval "$(lightbus completion bash)"'),
    "zsh": ("zsh -f", 'autoload -U compinit; compinit -u -D; eval "$(lightbus completion zsh)"'),
    "fish": ("fish --no-config", "lightbus completion fish | source"),
}


def program_in(folder: Path) -> Path:
    """Make a folder with a program `lightbus`, which adds a line to the file `ended` at each of its ends."""
    program = folder / "bin" / "lightbus"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f'#!/bin/sh\n{sys.executable} -m lightbus "$@"\nset -- $?\necho >> {folder}/ended\nexit $1\n'
    )
    program.chmod(0o755)
    return program.parent


def complete(tmp_path: Path, shell: str, words: str, **env: str) -> list[str]:
    """What a shell offers after some words; skipped where it is not installed."""
    if shutil.which(shell) is None:
        missing(f"{shell} is not installed")
    script = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]
    path = f"{program_in(tmp_path)}:{os.environ['PATH']}"
    done = subprocess.run(
        [shell, *(["-f"] if shell == "zsh" else []), "-c", script.format(words=words, last=words.count(" "))],
        env=clean_environment({"PATH": path, "HOME": str(tmp_path), **env}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.replace("\t", ":").partition(":")[0] for line in done.stdout.splitlines() if line]


def asked(folder: Path, words: str, **env: str) -> list[str]:
    """What bash is given for the last of some words, without starting it."""
    index = str(words.count(" "))
    asks = {"_LIGHTBUS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": index}
    python = [sys.executable, "-W", "error", "-m", "lightbus"]
    done = finished(python, cwd=folder, env=clean_environment({**asks, **env}))
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_completed(tmp_path: Path, shell: str) -> None:
    assert sorted(complete(tmp_path, shell, "lightbus in")) == ["init", "inspect"]
    assert complete(tmp_path, shell, "lightbus dlq re") == ["replay"]
    assert sorted(complete(tmp_path, shell, "lightbus inspect --fo")) == ["--follow", "--format"]


@pytest.mark.parametrize("words", ["lightbus run -c bill", "lightbus contract check --against bill"])
def test_shells_are_told_where_the_name_of_a_file_is_wanted(tmp_path: Path, words: str) -> None:
    assert asked(tmp_path, words) == ["bill"]


# Names


def offers(offered: list[str], ask: Callable[..., list[str]], *args: Any, **env: str) -> None:
    """See that this is offered; a busy machine may let the moment pass for which Redis is asked."""

    def is_offered() -> bool:
        assert ask(*args, **env) == offered
        return True

    eventually(is_offered)


def schema(**parameters: str) -> dict[str, object]:
    return {"parameters": {"properties": {name: {"type": kind} for name, kind in parameters.items()}}}


CONTRACTS: dict[str, dict[str, object]] = {
    "auth": {
        "rpcs": {"check_password": schema(username="string", password="string"), "reset": schema()},
        "events": {"user_registered": schema(username="string")},
    },
    "audit": {"rpcs": {}, "events": {"noted": schema()}},
    "billing.invoices": {"rpcs": {"send": schema()}, "events": {}},
    "billing.refunds": {"rpcs": {"pay": schema()}, "events": {}},
    "bad$(touch x)": {"rpcs": {"call": schema()}, "events": {}},
}
URL = "LIGHTBUS__BUS__REDIS__URL"
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def bus(redis_server: Server) -> str:
    """The URL of a Redis with contracts and groups."""
    for name, contract in CONTRACTS.items():
        redis_server.execute("SADD", "schemas", name)
        redis_server.execute("SET", f"schema:{name}", json.dumps(contract))
    redis_server.execute("XGROUP", "CREATE", "auth.*:stream", "mailer-send", "0", "MKSTREAM")
    redis_server.execute("XGROUP", "CREATE", "shop.sold:stream", "shop-audit", "0", "MKSTREAM")
    redis_server.execute("SADD", "lightbus:streams", "shop.sold:stream")
    return redis_server.url


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_call_is_completed_from_its_api_to_its_parameters(tmp_path: Path, bus: str, shell: str) -> None:
    env = {URL: bus}
    offers(["billing.invoices.", "billing.refunds."], complete, tmp_path, shell, "lightbus call b", **env)
    offers(["auth.check_password", "auth.reset"], complete, tmp_path, shell, "lightbus call au", **env)
    offers(["auth.check_password"], complete, tmp_path, shell, "lightbus call auth.ch", **env)
    offers(["username="], complete, tmp_path, shell, "lightbus call auth.check_password user", **env)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_key_completes_what_is_typed_at_a_terminal(tmp_path: Path, bus: str, shell: str) -> None:
    for each in (shell, "tmux"):
        if shutil.which(each) is None:
            missing(f"{each} is not installed")
    start, script = TYPED[shell]
    path = f"{program_in(tmp_path)}:{os.environ['PATH']}"
    env = clean_environment({"PATH": path, "HOME": str(tmp_path), "TERM": "screen", URL: bus})

    def tmux(*args: str) -> str:
        command = ["tmux", "-S", str(tmp_path / "socket"), "-f", "/dev/null", *args]
        return subprocess.run(
            command, env=env, capture_output=True, text=True, check=True, timeout=100
        ).stdout

    def ends() -> int:
        return (tmp_path / "ended").read_text().count("\n")

    def shown(words: str) -> bool:
        return words in tmux("capture-pane", "-p")

    def completed(typed: str, words: str) -> None:
        """Type, and press the key until the line is this: a busy machine may let the moment pass."""

        def is_completed() -> bool:
            before = ends()
            tmux("send-keys", "Tab")
            eventually(lambda: shown(words) or ends() > before, what="an answer to the key")
            eventually(lambda: shown(words), 2, words)
            return True

        tmux("send-keys", "-l", typed)
        eventually(lambda: shown(typed), what=typed)
        eventually(is_completed, 2 * PATIENCE, words)

    tmux("new-session", "-d", "-x", "80", "-y", "24", start)
    try:
        tmux("send-keys", "-l", f"{script}; echo re''ady")
        tmux("send-keys", "Enter")
        eventually(lambda: shown("ready"), what="a prompt")
        completed("lightbus call au", "lightbus call auth.")
        completed("ch", "lightbus call auth.check_password")
        completed("us", "lightbus call auth.check_password username=")
    finally:
        tmux("kill-server")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("lightbus call ", ["auth.", "billing.invoices.", "billing.refunds."]),
        ("lightbus call billing.refunds.", ["billing.refunds.pay"]),
        ("lightbus call auth.check_password ", ["username=", "password="]),
        ("lightbus call auth.check_password username=a ", ["password="]),
        ("lightbus call auth.check_password username = a ", ["password="]),
        ("lightbus call auth.check_password username = a", []),
        ("lightbus call auth.check_password username=a", []),
        ("lightbus call auth.nothing ", []),
        ("lightbus call x", []),
        ("lightbus fire au", ["audit.", "auth."]),
        ("lightbus fire auth.", ["auth.user_registered"]),
        ("lightbus fire auth.user_registered ", ["username="]),
        ("lightbus inspect --api a", ["audit", "auth"]),
        ("lightbus inspect -a auth -e ", ["user_registered"]),
        ("lightbus inspect --event no", ["noted"]),
        ("lightbus dlq list --api au", ["audit", "auth"]),
        ("lightbus dlq replay --listener ", ["mailer-send", "shop-audit"]),
        ("lightbus group show m", ["mailer-send"]),
        ("lightbus contract show bi", ["billing.invoices", "billing.refunds"]),
    ],
)
def test_names_come_from_the_bus(tmp_path: Path, bus: str, words: str, offered: list[str]) -> None:
    offers(offered, asked, tmp_path, words, **{URL: bus})


def test_names_come_from_the_manifest_too_and_from_it_alone_without_redis(tmp_path: Path, bus: str) -> None:
    tmp_path.joinpath("lightbus.yaml").write_text(MANIFEST)
    tmp_path.joinpath("bus.py").write_text("open('imported', 'w')")
    offers(["auth.", "avatars."], asked, tmp_path, "lightbus call a", **{URL: bus})
    offers(["avatars."], asked, tmp_path, "lightbus call a", **{URL: NOBODY})
    groups = ["mailer-send", "shop-audit", "shop-thumbs"]
    offers(groups, asked, tmp_path, "lightbus group show ", **{URL: bus})
    offers(["shop-thumbs"], asked, tmp_path, "lightbus dlq list --listener ", **{URL: NOBODY})
    # No module was imported, and no server of its own was started.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bus.py", "lightbus.yaml"]


MANIFEST = """
service_name: shop
modules: [bus]
apis: {avatars: {}}
listeners: {thumbs: {events: [avatars.made], handler: "bus:thumbs"}}
"""


@pytest.mark.parametrize(
    "text", ["", "service_nam: shop", "include: [http://127.0.0.1:1/x.yaml]", "bus: {redis: {url: 5}}"]
)
def test_nothing_is_said_in_a_prompt_whatever_is_wrong(tmp_path: Path, text: str) -> None:
    tmp_path.joinpath("lightbus.yaml").write_text(text)
    offers([], asked, tmp_path, "lightbus call a", **{URL: NOBODY})
    offers([], asked, tmp_path, "lightbus call a", LIGHTBUS_CONFIG="http://127.0.0.1:1/lightbus.yaml")


def test_a_redis_that_is_silent_is_not_waited_for(tmp_path: Path, proxy: Proxy) -> None:
    proxy.set("blackhole")
    tmp_path.joinpath("lightbus.yaml").write_text(MANIFEST)
    offers(["avatars."], asked, tmp_path, "lightbus call a", **{URL: proxy.url})


def test_a_user_with_a_password_and_another_database_is_served(
    tmp_path: Path, start_server: StartServer
) -> None:
    server = start_server(password="s/cret")
    url = f"redis://:s%2Fcret@127.0.0.1:{server.port}"
    client = f"{url}/3"
    with Glance(RedisOptions(url=SecretUrl(client)), 5.0) as glance:
        glance.ask([("SADD", "schemas", "auth"), ("SET", "schema:auth", json.dumps(CONTRACTS["auth"]))])
    offers(["auth.reset"], asked, tmp_path, "lightbus call auth.r", **{URL: client})
    offers([], asked, tmp_path, "lightbus call auth.r", **{URL: f"{url}/0"})


def test_nothing_is_written_to_redis(tmp_path: Path, bus: str, redis_server: Server) -> None:
    before = sorted(redis_server.execute("KEYS", "*"))
    for words in ("lightbus call au", "lightbus group show ", "lightbus inspect -e "):
        eventually(partial(asked, tmp_path, words, **{URL: bus}))
    assert sorted(redis_server.execute("KEYS", "*")) == before


def test_the_library_of_redis_is_not_waited_for() -> None:
    show = "import sys, lightbus.cli.commands.call, lightbus.manifest.load\n"
    show += "import lightbus.transports.redis.link.glance\n"
    show += "print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
