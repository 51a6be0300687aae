"""How log lines look, and that they find their way out: readable text, in colour on a terminal, or JSON."""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
import time
import zoneinfo
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from lightbus.manifest.model import LogFormat
from lightbus.messages import handled
from lightbus.runtime.output import ESCAPED, Output

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def on_one_line(text: str) -> str:
    """Return a text from outside so that nothing in it ends the line or speaks to the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class TextFormatter(logging.Formatter):
    """Time, level, message, and the id of the call or event that it is about; the traceback follows.

    The time is that of the zone in which the process was started: code that it runs may set another, as
    Django does.
    """

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(level)s %(message)s")
        self._colour = colour
        self._zone = _local_zone()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        name = f"{record.levelname.lower():8}"
        record.level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{name}\x1b[0m" if self._colour else name
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of day of a record."""
        return datetime.fromtimestamp(record.created, self._zone).strftime("%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Keep what came from outside on its line: a message never looks like two."""
        record.message = on_one_line(record.message)
        message_id = _message_id(record)
        if message_id and message_id not in record.message:
            record.message += f"  [{message_id}]"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines; the time is UTC, as RFC 3339 writes it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        seconds = time.gmtime(record.created)
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", seconds) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "about", None) or {}
        message_id = _message_id(record)
        if message_id:
            line["message_id"] = message_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class OutputHandler(logging.Handler):
    """Writes to standard error; a reader who has stopped keeps nobody waiting."""

    def __init__(self) -> None:
        super().__init__()
        self._encoding = sys.stderr.encoding or "utf-8"
        self._output = Output(sys.stderr.fileno(), self._tell_dropped)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        try:
            line = self._line(record)
        except Exception as e:
            # As of logger.info("%d", "x"), in anybody's code. The standard way may wait for the reader.
            where = f"{record.pathname}:{record.lineno}"
            line = self._line(_record(f"{where}: a log line can't be made: {type(e).__name__}: {e}"))
        self._output.write(line)

    def flush(self) -> None:
        """Wait until all is written, unless nobody reads it."""
        self._output.flush()

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(self._encoding, ESCAPED)

    def _tell_dropped(self, lines: int) -> bytes:
        return self._line(_record(f"log lines that were dropped, since nobody read the log: {lines}"))


def _record(line: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, "%s", (line,), None)


def _message_id(record: logging.LogRecord) -> str:
    """Return the id of the call or event that a line is about, or that is handled while it is written."""
    return getattr(record, "message_id", None) or "".join(handled.get() or ())


def _local_zone() -> tzinfo | None:
    """Return the time zone of this process by now."""
    name = os.environ.get("TZ", "").lstrip(":")
    try:
        if name:
            return zoneinfo.ZoneInfo(name)
        with open("/etc/localtime", "rb") as file:
            return zoneinfo.ZoneInfo.from_file(file)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        return datetime.now().astimezone().tzinfo


class _Ours:
    """The handler of Lightbus and the levels that it has set, among what user code may configure."""

    def __init__(self) -> None:
        self.handler: logging.Handler | None = None
        self.level = logging.NOTSET
        self.root_level = logging.NOTSET
        self.is_text = False


_ours = _Ours()


def configure(level: str = "info", style: LogFormat | None = None) -> None:
    """Send the log to standard error.

    Args:
        level: The least severe lines that are written: debug, info, warning, error or critical.
        style: ``text`` or ``json``; if not given, text on a terminal and JSON elsewhere.
    """
    is_terminal = sys.stderr.isatty()
    colour = is_terminal and not os.environ.get("NO_COLOR")
    if style is None:
        style = "text" if is_terminal else "json"
    _ours.is_text = style == "text"
    handler = _ours.handler if isinstance(_ours.handler, OutputHandler) else _handler()
    handler.setFormatter(TextFormatter(colour=colour) if style == "text" else JsonFormatter())
    root = logging.getLogger()
    if _ours.handler is not None:
        root.removeHandler(_ours.handler)
    else:
        # The logging package may have forgotten the handler by then, as after dictConfig().
        atexit.register(flush)
    _ours.handler = handler
    root.addHandler(handler)
    set_level(level)
    root.setLevel(_ours.root_level)


def is_text() -> bool:
    """Tell whether the log is text, which people read."""
    return _ours.is_text


def set_level(level: str) -> None:
    """Write only lines that are at least as severe as this; of other packages none below info.

    The level of the root logger stays where somebody else has set it.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    is_theirs = root.level != _ours.root_level
    _ours.level, _ours.root_level = number, max(number, logging.INFO)
    logging.getLogger("lightbus").setLevel(number)
    if not is_theirs:
        root.setLevel(_ours.root_level)


def keep() -> None:
    """See to it that lines of Lightbus come out, after code has run that may have configured logging.

    The user's configuration stays. A handler of theirs that takes warnings shows those of Lightbus as well.
    If it writes to a standard stream, that of Lightbus steps back, so that no line is there twice.
    """
    ours = _ours.handler
    if ours is None:
        return
    for name in list(logging.root.manager.loggerDict):
        if name == "lightbus" or name.startswith("lightbus."):
            logging.getLogger(name).disabled = False
    top, root = logging.getLogger("lightbus"), logging.getLogger()
    if top.level == logging.NOTSET:
        top.setLevel(_ours.level)
    if any(_is_console(handler) for handler in root.handlers if _is_theirs(handler)):
        root.removeHandler(ours)
    theirs = [handler for handler in _way_out(top) if _is_theirs(handler)]
    if theirs or (top.propagate and ours in root.handlers):
        top.removeHandler(ours)
    else:
        top.addHandler(ours)
    if any(map(_is_console, theirs)):
        ours.addFilter(_is_of_others)
    else:
        ours.removeFilter(_is_of_others)


def flush() -> None:
    """Wait until all is written, unless nobody reads the log."""
    if _ours.handler is not None:
        _ours.handler.flush()


def _handler() -> logging.Handler:
    try:
        return OutputHandler()
    except (AttributeError, OSError, ValueError):
        # Something else stands in for standard error, as in tests.
        return logging.StreamHandler(sys.stderr)


def _way_out(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that get the lines of a logger."""
    each: logging.Logger | None = logger
    while each is not None:
        yield from each.handlers
        each = each.parent if each.propagate else None


def _is_theirs(handler: logging.Handler) -> bool:
    """Tell whether it is the user's, and for more than the worst."""
    is_log = handler.level <= logging.WARNING and not isinstance(handler, logging.NullHandler)
    return is_log and handler is not _ours.handler


def _is_console(handler: Any) -> bool:
    """Tell whether it writes to standard output or standard error."""
    stream: Any = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    try:
        return stream is not None and (stream in (sys.stdout, sys.stderr) or stream.fileno() in (1, 2))
    except (AttributeError, OSError, ValueError):
        return False


def _is_of_others(record: logging.LogRecord) -> bool:
    return not f"{record.name}.".startswith("lightbus.")
