"""The types that one value of a manifest may have, each with how it is read and how it is described."""

from __future__ import annotations

import builtins
import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from lightbus.declared.definition import API_NAME, API_NAME_RULE
from lightbus.declared.listener import Events, InboxName, Since
from lightbus.declared.policy import DeliveryPolicy, OnError
from lightbus.declared.schedule import Cron, TimeZone
from lightbus.declared.settings import DatabaseAlias, EngineName
from lightbus.manifest.model import (
    CallName,
    DjangoSettings,
    HeaderName,
    HostName,
    ListenAddress,
    MaskedField,
    ModuleName,
    Network,
    RootPath,
)
from lightbus.manifest.text.nodes import Untyped
from lightbus.manifest.text.yaml import plain_scalar
from lightbus.options import Duration, Function, Secret, SecretUrl, parse_duration
from lightbus.transports.redis.options import ClassName, HostPort
from lightbus.transports.redis.url import SAYS, url_problem

_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_DOTTED = rf"{_WORD}(?:\.{_WORD})*"
_HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])"
_CRON_FIELD = r"[0-9A-Za-z*/,#?-]+"
_CRON = rf"{_CRON_FIELD}(?: +{_CRON_FIELD}){{4}}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One type of value.

    Args:
        says: Completes the sentence "must be ...".
        kind: The Cerberus type that it has once read.
        read: Makes that of what was written; raises ValueError.
        finish: Makes what the option holds of a valid value; of a secret, also from what reads it again.
        choices: The only values, where they are few.
        json: Its JSON Schema.
        explain: Says what is wrong with text that can't be read, without secrets.
        secret: Whether it must not be shown.
        code: Whether it names code that will be imported.
        duration: Whether it is a length of time.
    """

    says: str
    kind: str
    read: Callable[[Any], Any]
    json: dict[str, Any] = field(hash=False)
    finish: Callable[..., Any] | None = None
    choices: tuple[str, ...] = ()
    explain: Callable[[str], str | None] | None = None
    secret: bool = False
    code: bool = False
    duration: bool = False


def _same(value: Any) -> Any:
    return value


def _typed(value: Any) -> Any:
    """Read text from outside as the number or boolean that it spells."""
    return plain_scalar(str(value)) if isinstance(value, Untyped) else value


def _number(value: Any) -> Any:
    value = _typed(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _pattern(expression: str) -> Callable[[Any], Any]:
    compiled = re.compile(expression, re.ASCII)

    def read(value: Any) -> Any:
        if isinstance(value, str) and not compiled.fullmatch(value):
            raise ValueError
        return value

    return read


def _text(says: str, expression: str, *, code: bool = False) -> Leaf:
    schema = {"type": "string", "pattern": f"^(?:{expression})$"}
    return Leaf(says, "text", _pattern(expression), schema, code=code)


def _port(value: Any) -> Any:
    value = _read_host_port(value)
    if isinstance(value, str) and not 0 < int(value.rpartition(":")[2]) < 65536:
        raise ValueError
    return value


def _listen(value: Any) -> Any:
    value = _typed(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"127.0.0.1:{value}"
    return _port(value)


def _settings(value: Any) -> Any:
    value = _typed(value)
    return str(value).lower() if isinstance(value, bool) else _read_dotted(value)


def _url(value: Any) -> Any:
    if isinstance(value, str) and url_problem(value) is not None:
        raise ValueError
    return value


def _network(value: Any) -> Any:
    if isinstance(value, str):
        ipaddress.ip_network(value, strict=False)
    return value


def _cron(value: Any) -> Any:
    value = _read_cron(value)
    if isinstance(value, str):
        try:
            from cronsim import CronSim, CronSimError
        except ImportError:
            # Told where the schedule is made, with the extra that brings it.
            return value
        try:
            CronSim(value, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as e:
            raise ValueError from e
    return value


def _zone(value: Any) -> Any:
    if isinstance(value, str):
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, OSError) as e:
            raise ValueError from e
    return value


def _since(value: Any) -> Any:
    if isinstance(value, str) and value not in ("new", "earliest"):
        datetime.fromisoformat(value)
    return value


def _moment(value: str) -> str | datetime:
    if value in ("new", "earliest"):
        return str(value)
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def exception_type(name: str) -> type[BaseException] | None:
    """Return the exception of Python's own that has this name."""
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _exception(value: Any) -> Any:
    if isinstance(value, str) and not _IS_HANDLER.fullmatch(value) and exception_type(value) is None:
        raise ValueError
    return value


_read_cron = _pattern(_CRON)
_read_dotted = _pattern(_DOTTED)
_read_host_port = _pattern(rf"{_HOST}:[0-9]{{1,5}}")
_IS_HANDLER = re.compile(rf"{_DOTTED}:{_DOTTED}", re.ASCII)
_ON_ERROR = tuple(e.value for e in OnError)

_LEAVES: dict[Any, Leaf] = {
    str: Leaf("text", "text", _same, {"type": "string"}),
    bool: Leaf("true or false", "boolean", _typed, {"type": "boolean"}),
    int: Leaf("a whole number", "integer", _typed, {"type": "integer"}),
    float: Leaf("a number", "number", _number, {"type": "number"}),
    Duration: Leaf(
        "a duration such as 500ms, 30s, 5m, 2h or 7d",
        "number",
        parse_duration,
        {"type": ["string", "number"], "pattern": "^[0-9.]+(ms|s|m|h|d)?$", "minimum": 0},
        duration=True,
    ),
    Secret: Leaf("text", "text", _same, {"type": "string"}, Secret, secret=True),
    SecretUrl: Leaf(
        SAYS,
        "text",
        _url,
        {"type": "string", "pattern": "^(rediss?([+]cluster)?|unix)://"},
        SecretUrl,
        explain=url_problem,
        secret=True,
    ),
    HostPort: Leaf("host:port", "text", _port, {"type": "string", "pattern": ":[0-9]+$"}),
    ListenAddress: Leaf(
        "host:port, or a port of this machine alone",
        "text",
        _listen,
        {"anyOf": [{"type": "string", "pattern": ":[0-9]+$"}, {"type": "integer"}]},
    ),
    HostName: _text("the name of a host, such as bus.example.com", _HOST),
    Network: Leaf("an address or a network such as 10.0.0.0/8", "text", _network, {"type": "string"}),
    HeaderName: _text("the name of a header, such as X-Forwarded-User", "[A-Za-z][A-Za-z0-9-]{0,99}"),
    MaskedField: _text(
        "the name of a field such as email, or a path with kwargs or result in it such as "
        "shop.placed.kwargs.address.*",
        r"[^\s.]+|[^\s.]+(?:\.[^\s.]+)*\.(?:kwargs|result)(?:\.[^\s.]+)*",
    ),
    RootPath: _text("a path such as /bus", "(?:/[A-Za-z0-9._~-]+)*"),
    Function: _text("a function as package.module:function", f"{_DOTTED}:{_DOTTED}", code=True),
    ModuleName: _text("a module as package.module", _DOTTED, code=True),
    DjangoSettings: Leaf(
        "true, false or a settings module such as mysite.settings",
        "text",
        _settings,
        {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^(?:{_DOTTED})$"}]},
        lambda text: {"true": True, "false": False}.get(text, text),
        code=True,
    ),
    Events: _text(
        "an event as api.event, or api.* for all of an API", rf"{API_NAME.pattern}\.(?:{_WORD}|\*)"
    ),
    CallName: _text("an API such as auth, or a procedure such as shop.orders.place", API_NAME.pattern),
    Cron: replace(_text("five fields of cron that name real times, such as 0 2 * * *", _CRON), read=_cron),
    ClassName: _text("a class as package.module.Name", rf"{_WORD}(?:\.{_WORD})+", code=True),
    DatabaseAlias: _text("Django's name of a database, or a list of such names", r"[A-Za-z0-9_.-]+"),
    EngineName: _text(
        "an engine as package.module:name, or a list of such names", f"{_DOTTED}:{_DOTTED}", code=True
    ),
    InboxName: _text(
        "django, django:alias, or what makes SQLAlchemy's sessions as package.module:name",
        rf"django(?::[A-Za-z0-9_.-]+)?|{_DOTTED}:{_DOTTED}",
        code=True,
    ),
    TimeZone: Leaf("a time zone such as Europe/London", "text", _zone, {"type": "string"}),
    Since: Leaf(
        "new, earliest or a date and time such as 2026-01-31T12:00:00Z",
        "text",
        _since,
        {"type": "string"},
        _moment,
    ),
    DeliveryPolicy: Leaf(
        f"a policy's name, or one of {', '.join(_ON_ERROR)}", "text", _same, {"type": "string"}
    ),
    type[BaseException]: Leaf(
        "an exception of Python's own such as ValueError, or package.module:Name",
        "text",
        _exception,
        {"type": "string"},
        code=True,
    ),
}


def leaf_of(hint: Any) -> Leaf | None:
    """Return how values of a type hint are read; None if it is no single value.

    Args:
        hint: The type hint of an option, without ``| None``.
    """
    if get_origin(hint) is Literal:
        choices, finish = get_args(hint), None
    elif isinstance(hint, type) and issubclass(hint, Enum):
        choices, finish = tuple(str(e.value) for e in hint), hint
    else:
        return _LEAVES.get(hint)
    return Leaf(f"one of {', '.join(choices)}", "text", _same, {"enum": list(choices)}, finish, choices)


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)


def name_pattern(path: str) -> tuple[re.Pattern[str], str]:
    """Return what a name in a map may look like, and that in words."""
    if path == "apis":
        return API_NAME, API_NAME_RULE
    return _NAME, "use letters, digits, _, - and dots"
