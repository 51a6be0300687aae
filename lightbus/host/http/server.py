"""The server: three pages, in a thread of its own."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lightbus.exceptions import ConfigurationError, MissingExtra
from lightbus.host.host import Host

from .health import Health

logger = logging.getLogger(__name__)

#: The most requests at a time, so that nobody fills the process with threads. For one more, the client that
#: takes its time for longest is cut off: clients that trickle keep no probe out.
_MOST_REQUESTS = 20
#: The most readings of metrics at a time. Each may wait for a broker, and must leave room for probes.
_MOST_READINGS = 5
#: Seconds for a client that was cut off to leave.
_LEAVING = 1.0
#: Seconds from a failure of the server to its next attempt.
_REST = 0.5
_JSON = "application/json"
_PAGES = ("/livez", "/readyz", "/metrics")

Answer = tuple[int, str, bytes]


@contextmanager
def listening(listen: str, host: Host) -> Iterator[None]:
    """Serve the health and the metrics of a host.

    Args:
        listen: The address, as ``host:port``.
        host: The host.

    Raises:
        ConfigurationError: The address can't be listened at, or an extra is missing.
    """
    try:
        server = _Server(listen, Pages(host))
    except (MissingExtra, OSError) as e:
        what = str(e)
        if isinstance(e, OSError):
            what = f"can't listen at {listen}: {e.strerror or e}; choose another port or address"
        place = host.manifest.origin("http.listen")
        where = f"{place}  " if place else ""
        raise ConfigurationError(f"{where}http.listen: {what}") from None
    thread = threading.Thread(target=server.keep_serving, name="lightbus http", daemon=True)
    thread.start()
    logger.info("health and metrics: http://%s", listen)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class Pages:
    """The pages.

    Raises:
        MissingExtra: The package that writes metrics is not installed.
    """

    def __init__(self, host: Host) -> None:
        try:
            from prometheus_client.exposition import choose_encoder
        except ImportError as e:
            raise MissingExtra("the server of health and metrics", "http") from e
        from .exposition import Exposition

        self._host = host
        self.health = Health(host)
        self._readings = threading.BoundedSemaphore(_MOST_READINGS)
        self._collector: Any = Exposition(host)
        self._choose_encoder = choose_encoder

    def answer(self, path: str, accept: str) -> Answer:
        """Return status, type and text of a page.

        Args:
            path: Such as ``/readyz``.
            accept: The formats that the client takes, as in the header of that name.
        """
        if path == "/livez":
            return self._verdict("alive", self.health.deadly())
        if path == "/readyz":
            return self._verdict("ready", self.health.obstacles(), self.health.waits())
        if path == "/metrics":
            return self._metrics(accept)
        return 404, "text/plain", f"There is nothing here; there are {', '.join(_PAGES)}.\n".encode()

    def _metrics(self, accept: str) -> Answer:
        if not self._readings.acquire(blocking=False):
            return 503, "text/plain", b"Others read the metrics already; ask again later.\n"
        try:
            encode, content_type = self._encoder(accept)
            return 200, content_type, encode(self._collector)
        finally:
            self._readings.release()

    def _encoder(self, accept: str) -> Any:
        try:
            return self._choose_encoder(accept)
        except Exception as e:
            # The library compares versions that it has not read: whoever asks oddly gets the plain format.
            logger.debug("the header Accept can't be read: %r", e)
            return self._choose_encoder("")

    def _verdict(self, good: str, problems: list[str], waits: Sequence[str] = ()) -> Answer:
        client = self._host.client
        verdict = {
            "status": f"not {good}" if problems else good,
            "service": client.service_name,
            "process": client.process_name,
            "problems": problems,
            **({"waits": waits} if waits else {}),
        }
        return 503 if problems else 200, _JSON, json.dumps(verdict).encode() + b"\n"


class _Request(BaseHTTPRequestHandler):
    server: _Server
    #: Seconds for which a client may take its time.
    timeout = 5

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.is_busy(self.connection)
        try:
            status, content_type, body = self.server.pages.answer(path, self.headers.get("Accept", ""))
        except Exception:
            logger.exception("the page %s failed", path[:80])
            status, content_type, body = 500, "text/plain", b"It failed; the log says why.\n"
        self.server.waits_for(self.connection)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def version_string(self) -> str:
        return "Lightbus"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests come every few seconds, so only debugging shows them."""
        logger.debug("http %s: %s", self.client_address[0], (format % args)[:200])


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listen: str, pages: Pages) -> None:
        host, _, port = listen.rpartition(":")
        self.pages = pages
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)
        self._waited_for: dict[Any, None] = {}
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host.strip("[]"), int(port)), _Request)

    def keep_serving(self) -> None:
        """Serve until :meth:`shutdown`, whatever happens."""
        while True:
            try:
                self.serve_forever()
                return
            except Exception:
                logger.exception("the server of health and metrics failed; it goes on")
                time.sleep(_REST)

    def service_actions(self) -> None:
        """About twice a second."""
        self.pages.health.watch()

    def waits_for(self, connection: Any) -> None:
        """Note that a client is at liberty to take its time, to send or to receive, while there is room."""
        self._waited_for[connection] = None

    def is_busy(self, connection: Any) -> None:
        """Note that it is the host that takes its time for a client."""
        self._waited_for.pop(connection, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False) or self._make_room():
            self.waits_for(request)
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.is_busy(request)
            self._free.release()

    def _make_room(self) -> bool:
        for connection in list(self._waited_for)[:1]:
            self.is_busy(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return self._free.acquire(timeout=_LEAVING)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to report."""
        logger.debug("http: a request ended early", exc_info=True)
