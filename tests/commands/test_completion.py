"""``lightbus completion``: in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.processes import clean_environment

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
words=({words}); CURRENT={last}+1
_lightbus_completion
"""
FISH = """
lightbus completion fish | source
complete -C "{words}"
"""


def complete(tmp_path: Path, shell: str, words: str) -> list[str]:
    """What a shell offers after some words; skipped where it is not installed."""
    if shutil.which(shell) is None:
        missing(f"{shell} is not installed")
    program = tmp_path / "lightbus"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lightbus "$@"\n')
    program.chmod(0o755)
    script = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]
    done = subprocess.run(
        [shell, *(["-f"] if shell == "zsh" else []), "-c", script.format(words=words, last=words.count(" "))],
        env=clean_environment({"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.replace("\t", ":").partition(":")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_completed(tmp_path: Path, shell: str) -> None:
    assert sorted(complete(tmp_path, shell, "lightbus in")) == ["init", "inspect"]
    assert complete(tmp_path, shell, "lightbus dlq re") == ["replay"]
    assert sorted(complete(tmp_path, shell, "lightbus inspect --fo")) == ["--follow", "--format"]


@pytest.mark.parametrize("words", ["lightbus run -c bill", "lightbus contract check --against bill"])
def test_shells_are_told_where_the_name_of_a_file_is_wanted(words: str) -> None:
    asked = {"_LIGHTBUS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "lightbus"],
        env=clean_environment(asked),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "file,bill\n"
