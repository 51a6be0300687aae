"""Threads of the operating system, also where gevent has put its greenlets in their place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

#: Seconds after which a thread that waits looks whether a signal has come.
_LONGEST_SLEEP = 1.0


def replaced_by() -> str | None:
    """Return what stands in for threads in this process: ``gevent``, ``eventlet`` or None."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None


def start_thread(function: Callable[[], None], name: str) -> None:
    """Run a function in a thread for whose end the process does not wait.

    A greenlet in its place would run only when those who wait for it let it, and an event loop never would.
    """
    if replaced_by() == "gevent":
        sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")(function, ())
    else:
        threading.Thread(target=function, name=name, daemon=True).start()


def wait_for(begin: Callable[[Callable[[], object]], None]) -> None:
    """Begin something in another thread, and wait for its end; greenlets go on meanwhile.

    gevent does not know of threads: it would take a greenlet that waits for one for lost, and raise LoopExit.

    Args:
        begin: Begins it. It is given what that thread calls at the end, once.
    """
    if replaced_by() == "gevent":
        from gevent.hub import Waiter, get_hub

        waiter = Waiter()
        arrival = get_hub().loop.async_()
        # Before anything may call it: what is sent to one that was not started is lost.
        arrival.start(waiter.switch, None)
        try:
            begin(arrival.send)
            waiter.get()
        finally:
            arrival.stop()
        return
    # A lock alone: a condition, or an event, is a lock for each wait and some calls around it.
    over = threading.Lock()
    over.acquire()
    begin(over.release)
    # A signal that comes just before this thread sleeps, or that another thread takes, wakes nobody: Python
    # heeds it only here, between two waits. Else a Ctrl-C would be lost as long as there is no answer.
    while not over.acquire(timeout=_LONGEST_SLEEP):
        continue
