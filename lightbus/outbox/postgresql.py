"""LISTEN and NOTIFY of PostgreSQL: a transaction that writes events wakes the relay once it has committed.

It wakes, and nothing else: rows are found by looking, so a lost NOTIFY costs no more than ``poll``.
"""

from __future__ import annotations

import asyncio
import select
from typing import Any, Final

from lightbus.bus.path import BusPath

from .database import CannotListen, DatabaseFailed

_CHANNEL: Final = "lightbus_outbox"
#: The statements of whoever writes, and of whoever waits.
NOTIFY: Final = f"NOTIFY {_CHANNEL}"
LISTEN: Final = f"LISTEN {_CHANNEL}"
#: Asks for the process of the server that runs this very statement.
WHO: Final = "SELECT pg_backend_pid()"


def notifies(bus: object) -> bool:
    """Tell whether the manifest of a bus has ``outbox.notify``."""
    return isinstance(bus, BusPath) and bus.client.parts.wiring.outbox_notifies


class Ear:
    """Hears the signs that arrive over a connection of psycopg, a synchronous or an asynchronous one.

    Args:
        raw: The connection of the driver.
        process: The process of the server, as the server says.

    Raises:
        CannotListen: It is another driver's, or it does not lead to that process.
    """

    def __init__(self, raw: Any, process: object) -> None:
        driver = type(raw).__module__.partition(".")[0]
        if driver != "psycopg":
            raise CannotListen(f"the driver {driver} is not listened by; psycopg 3 is")
        if raw.info.backend_pid != process:
            raise CannotListen(
                "a pooler such as pgbouncer stands before PostgreSQL, which hands on no LISTEN between "
                "transactions; let the relay connect to PostgreSQL itself"
            )
        self._raw = raw
        self._has_heard = False
        # While a statement runs, psycopg hands signs over to handlers only.
        raw.add_notify_handler(self._note)

    def wait(self, seconds: float) -> bool:
        """Wait for a sign; tell whether one has come, which may have been before.

        Raises:
            DatabaseFailed: The connection is broken.
        """
        if self._heard():
            return True
        poll = select.poll()
        poll.register(self._raw.fileno(), select.POLLIN)
        return bool(poll.poll(seconds * 1000)) and self._heard()

    async def wait_on_loop(self, seconds: float) -> bool:
        """Wait for a sign without keeping the event loop; see :meth:`wait`."""
        if self._heard():
            return True
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        descriptor = self._raw.fileno()
        loop.add_reader(descriptor, arrived.set)
        try:
            async with asyncio.timeout(seconds):
                await arrived.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
        return self._heard()

    def _heard(self) -> bool:
        connection = self._raw.pgconn
        try:
            connection.consume_input()
            while connection.notifies() is not None:
                self._has_heard = True
        except self._raw.OperationalError as e:
            raise DatabaseFailed(f"{type(e).__name__}: {e}".strip()) from e
        heard, self._has_heard = self._has_heard, False
        return heard

    def _note(self, _: object) -> None:
        self._has_heard = True
