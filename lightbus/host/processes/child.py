"""A process that a supervisor has started: its share of the manifest, and how it hears of the end."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

from lightbus.host.shutdown import wish_for_end
from lightbus.manifest.making.placeholders import tells_processes_apart
from lightbus.manifest.model import ListenAddress, Manifest

#: Tells a host that it was started by a supervisor, and which of its processes it is, from 1.
VARIABLE = "LIGHTBUS_CHILD"
#: The signals that a supervisor holds back from a process until that has said what it does on them.
HELD_BACK = (signal.SIGHUP,)


def follow_supervisor() -> int | None:
    """End this process with the supervisor that has started it, and at once where that says so.

    Returns:
        The number of this one of its processes, from 1; None if there is no supervisor.
    """
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return None
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    # A program that a handler starts must not read what is said to this process.
    line = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_follow, args=(line,), name="lightbus supervised", daemon=True).start()
    return int(number)


def as_child(manifest: Manifest, number: int) -> Manifest:
    """Return what one process of several is to host.

    Its name gets the number if nothing else in it differs between processes. Each has an HTTP port of its
    own.
    """
    written = manifest.tree.get("process_name") if manifest.tree else None
    name = manifest.process_name
    if written is not None and manifest.processes > 1 and not tells_processes_apart(str(written.value)):
        name = f"{name}-{number}"
    http = manifest.http
    if http.listen is not None:
        host, _, port = http.listen.rpartition(":")
        http = replace(http, listen=ListenAddress(f"{host}:{int(port) + number - 1}"))
    return replace(manifest, process_name=name, http=http)


def _follow(line: int) -> None:
    while os.read(line, 1024):
        wish_for_end("the supervisor was signalled again: what still runs is left behind", at_once=True)
    wish_for_end("the supervisor is gone", at_once=False)
