"""``lightbus completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from lightbus.cli import cli
from lightbus.cli.completion import VARIABLE

#: As click's own, but that no space follows what ends with = or a dot: its value, or the rest of it, does.
_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' response completion type value
    COMPREPLY=()
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
        %(complete_var)s=bash_complete $1 2>/dev/null)
    for completion in $response; do
        IFS=',' read type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                if [[ $value == *[=.] ]]; then
                    compopt -o nospace 2>/dev/null
                fi
                ;;
        esac
    done
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
_ZSH = r"""
#compdef %(prog_name)s

%(complete_func)s() {
    local -a whole described unfinished response
    local type key descr
    (( ! $+commands[%(prog_name)s] )) && return 1
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    for type key descr in ${response}; do
        if [[ $type == dir ]]; then
            _path_files -/
        elif [[ $type == file ]]; then
            _path_files -f
        elif [[ $key == *[=.] ]]; then
            unfinished+=("$key")
        elif [[ $descr == _ ]]; then
            whole+=("$key")
        else
            described+=("$key:$descr")
        fi
    done
    if (( $#described )); then
        _describe -V unsorted described -U
    fi
    if (( $#whole )); then
        compadd -U -V unsorted -a whole
    fi
    if (( $#unfinished )); then
        compadd -U -S '' -V unsorted -a unfinished
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
_TEMPLATES = {"bash": _BASH, "zsh": _ZSH}


@click.command("completion", epilog="Example: echo 'eval \"$(lightbus completion bash)\"' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and names on the bus.

    For fish, write it to ~/.config/fish/completions/lightbus.fish.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"this version of click can't complete in {shell}")
    # Not source(): that asks the bash on this machine for its version first.
    script = found(cli, {}, "lightbus", VARIABLE)
    template = _TEMPLATES.get(shell, script.source_template)
    print(template.strip() % script.source_vars())
