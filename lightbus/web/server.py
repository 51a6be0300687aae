"""Serves the console: by itself for ``lightbus web``, and beside a host for ``lightbus run --web``."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from lightbus.exceptions import ConfigurationError, MissingExtra
from lightbus.host.processes.signals import LoopSignals, Wishes
from lightbus.host.shutdown import ENDING, EXIT_OK, end_with, heed_no_more
from lightbus.manifest.model import Manifest
from lightbus.runtime.portal import run

from . import app
from .console import Console

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as e:
    raise MissingExtra("the console", "web") from e

logger = logging.getLogger(__name__)

#: The most connections. For one more, the one that takes its time for longest is cut off: clients that
#: trickle keep nobody out.
_MOST = 200
#: Seconds for a client to send a request, and to take a piece of the answer. The second is shorter than the
#: patience of the guard, which can only end in an error.
_PATIENCE, _TAKEN = 10.0, 8.0
#: Seconds for answers that have begun, once it is to end beside a host.
_LEAVING = 4.0
#: The most bytes of the head of a request.
_MOST_HEAD = 32 * 1024
_WHO = {
    "none": "everybody on this machine may look",
    "token": "whoever has a token may look",
    "proxy": "whom the proxy names may look",
}


def serve(manifest: Manifest) -> None:
    """Serve the console of a manifest until SIGTERM or Ctrl-C.

    Args:
        manifest: The manifest.

    Raises:
        ConfigurationError: The address can't be listened at, or the file of tokens can't be used.
    """
    console = app(manifest)
    with _listening(manifest) as listening:
        run(_Alone(console, lambda: _tell(manifest, "; Ctrl-C ends it")).serve([listening]))


@contextmanager
def beside(manifest: Manifest) -> Iterator[None]:
    """Serve the console of a manifest in a thread of its own, beside what this process does otherwise.

    Args:
        manifest: The manifest.

    Raises:
        ConfigurationError: The address can't be listened at, or the file of tokens can't be used.
    """
    console = app(manifest)
    with _listening(manifest) as listening:
        server = _Beside(console)

        def keep_serving() -> None:
            try:
                run(server.serve([listening]))
            except Exception:
                logger.exception("the console has failed, and nobody serves it now")

        thread = threading.Thread(target=keep_serving, name="lightbus web", daemon=True)
        thread.start()
        _tell(manifest)
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(_LEAVING)


def _tell(manifest: Manifest, more: str = "") -> None:
    """Say where the console is, and who may look."""
    options = manifest.web
    where = f"http://{options.listen}{options.root_path}/"
    logger.info("the console: %s (%s%s)", where, _WHO[options.auth], more)


def _config(console: Console) -> uvicorn.Config:
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    return uvicorn.Config(
        console,
        http=_Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST + 50,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=_MOST_HEAD,
    )


@contextmanager
def _listening(manifest: Manifest) -> Iterator[socket.socket]:
    listen = manifest.web.listen
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as it:
        it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            it.bind((host.strip("[]"), int(port)))
            it.listen(1024)
        except OSError as e:
            place = manifest.origin("web.listen")
            where = f"{place}  " if place else ""
            what = f"can't listen at {listen}: {e.strerror or e}; choose another port or address"
            raise ConfigurationError(f"{where}web.listen: {what}") from None
        yield it


class _Server(uvicorn.Server):
    """Ends in good order on a signal, and leaves the exit status to the command.

    Args:
        console: The console.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(_config(console))
        self._console = console
        self._wishes = Wishes()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._console.end_streams()
        await super().shutdown(sockets)
        if self.force_exit:
            # Left out then by uvicorn, the end of the console would be told as a failure of it.
            await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        signals = LoopSignals(self._end)
        signals.heed(*ENDING)
        try:
            yield
            end_with(EXIT_OK)
        finally:
            heed_no_more()
            signals.close()

    def _end(self, _: signal.Signals) -> None:
        self.should_exit = True
        if self._wishes.meaning() == "at once":
            self.force_exit = True


class _Alone(_Server):
    """A server in a process of its own: it looks at the bus before anybody asks.

    Args:
        console: The console.
        tell: Says where it is; called once signals end it in good order.
    """

    def __init__(self, console: Console, tell: Callable[[], None]) -> None:
        super().__init__(console)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._tell()
        await self._console.get_ready()
        await super().startup(sockets)


class _Beside(_Server):
    """A server in a thread of a host, which leaves signals to that."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(H11Protocol):
    """A connection on which a client has to ask soon and to take the answer, or leave."""

    #: Those of which a request is waited for, or the rest of one, the longest first.
    waiting: ClassVar[dict[_Connection, None]] = {}
    _timer: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > _MOST:
            for slow in list(self.waiting)[:1]:
                slow._cut_off()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._untaken is None:
            self._untaken = self.loop.call_later(_TAKEN, self._cut_off)

    def resume_writing(self) -> None:
        self._has_taken()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self._has_taken()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """See to it that a request is not waited for too long: its head, and the form that comes after it."""
        cycle = self.cycle
        is_whole = cycle is not None and not cycle.more_body and not cycle.response_complete
        if is_whole or self.transport.is_closing():
            self._rest()
        elif self._timer is None:
            self.waiting[self] = None
            self._timer = self.loop.call_later(_PATIENCE, self._cut_off)

    def _rest(self) -> None:
        self.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _has_taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _cut_off(self) -> None:
        self._rest()
        self._has_taken()
        self.transport.abort()
