"""How log lines look: readable text, in colour on a terminal, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from typing import Literal

from .messages import handled

LogFormat = Literal["text", "json"]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def on_one_line(text: str) -> str:
    """Return a text from outside so that nothing in it ends the line or speaks to the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class TextFormatter(logging.Formatter):
    """Time, level, message, and the id of the call or event that it is about; the traceback follows."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(level)s %(message)s", "%H:%M:%S")
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        name = f"{record.levelname.lower():8}"
        record.level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{name}\x1b[0m" if self._colour else name
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Keep what came from outside on its line: a message never looks like two."""
        record.message = on_one_line(record.message)
        message_id = _message_id(record)
        if message_id and message_id not in record.message:
            record.message += f"  [{message_id}]"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        message_id = _message_id(record)
        if message_id:
            line["message_id"] = message_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _message_id(record: logging.LogRecord) -> str:
    """Return the id of the call or event that a line is about, or that is handled while it is written."""
    return getattr(record, "message_id", None) or "".join(handled.get() or ())


def configure(level: str = "info", style: LogFormat | None = None) -> None:
    """Send the log to standard error.

    Args:
        level: The least severe lines that are written: debug, info, warning, error or critical.
        style: ``text`` or ``json``; where not given, text on a terminal and JSON elsewhere.
    """
    is_terminal = sys.stderr.isatty()
    colour = is_terminal and not os.environ.get("NO_COLOR")
    if style is None:
        style = "text" if is_terminal else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter(colour=colour) if style == "text" else JsonFormatter())
    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "is_lightbus", False)]:
        root.removeHandler(old)
    handler.is_lightbus = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    set_level(level)


def set_level(level: str) -> None:
    """Write only lines that are at least as severe as this; of other packages none below info."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger("lightbus").setLevel(number)
    logging.getLogger().setLevel(max(number, logging.INFO))
