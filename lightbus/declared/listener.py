"""The record of a listener, however it was declared: in code or in the manifest."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NewType

from lightbus.exceptions import InvalidListener
from lightbus.options import Duration, Function, option, parse_duration
from lightbus.values import arguments_caster, hints_of, unconverted

from .definition import NAME, Event, where
from .inbox import inbox_of
from .policy import DeliveryPolicy

Handler = Callable[..., Any]
#: An event as ``api.event``, or ``api.*`` for all of an API.
EventPattern = NewType("EventPattern", str)
#: Events to handle: a manifest names them, code gives pairs of API and event name.
Events = EventPattern | tuple[str, str]
#: From where a new consumer group reads; code gives a Unix time in seconds as text.
Since = Literal["new", "earliest"] | str | datetime

#: A database with an inbox: ``django``, ``django:alias``, or what makes SQLAlchemy's sessions.
InboxName = NewType("InboxName", str)

#: The most events of one list.
MOST_AT_ONCE = 10_000

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


# Not frozen: a listener that runs has the same options, and follows those that change in its manifest.
@dataclass(slots=True, kw_only=True)
class ListenerOptions:
    """One listener: some events, and the function that handles them."""

    events: tuple[Events, ...] = option(
        description="The events to handle: api.event, or api.* for all of an API."
    )
    handler: Function = option(description="The function that handles them: package.module:function.")
    on_error: DeliveryPolicy = option(
        factory=DeliveryPolicy,
        description="The policy for an event whose handler raises: a policy's name, or retry, dead_letter, "
        "acknowledge_and_log, stop_listener or shutdown.",
    )
    concurrency: int = option(
        1, "How many events one process handles at a time; 1 keeps their order.", minimum=1, maximum=10_000
    )
    since: Since = option(
        "new", "Where its group begins when it is first made: new, earliest or a date and time."
    )
    enabled: bool = option(True, "Whether it runs.")
    dedupe: Duration | None = option(
        None,
        "Deduplication: for how long an acknowledged event does not run again if it comes with the same id; "
        "left out, not at all.",
        minimum=0.001,
    )
    batch: int | None = option(
        None,
        "The most events that the handler gets at a time, as a list; left out, one, with its arguments.",
        minimum=1,
        maximum=MOST_AT_ONCE,
    )
    batch_wait: Duration | None = option(
        None, "How long a list waits for more events after its first; left out, 50ms.", minimum=0
    )
    inbox: InboxName | None = option(
        None,
        "Its inbox: the database in which each event is noted together with its effects, so that they happen "
        "once: django, django:alias, or what makes SQLAlchemy's sessions, such as shop.db:Session.",
    )
    inbox_keep: Duration | None = option(
        None, "How long an inbox knows an event after it was handled; left out, 14d.", minimum=1
    )
    renamed_from: str | None = option(
        None,
        "The name that it had before: it takes over what waits there, once no process reads that any more.",
    )

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The events as pairs of API and event name; ``*`` as event stands for all of an API's."""
        return tuple(e if isinstance(e, tuple) else e.rpartition(".")[::2] for e in self.events)


@dataclass(slots=True, kw_only=True)
class Listener(ListenerOptions):
    """A listener whose handler is known: called as ``handler(event_message, **arguments)``.

    Plain functions run in a thread. With ``batch`` it is called as ``handler(event_messages)``, and
    ``concurrency`` counts lists.

    Args:
        name: Its consumer group is ``{service_name}-{name}``. Unique among the listeners of each API.
        key: Names it among all listeners of its process; set when it is added to them.
        in_code: Whether code alone declares it, so that no manifest has its name.
    """

    name: str
    events: tuple[tuple[str, str], ...]
    handler: Handler
    key: str = field(default="", compare=False)
    in_code: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        self.key = self.key or self.name
        _check_callable(self.handler)
        if not self.events:
            raise InvalidListener(f"the listener {self.name!r} asks for no events")
        if not _NAME.fullmatch(self.name):
            raise InvalidListener(
                f"a listener can't be named {self.name!r}: use letters, digits, _, . and -; "
                "give it a name with listener_name='...'"
            )
        if type(self.concurrency) is not int or self.concurrency < 1:
            raise self._refused("concurrency", self.concurrency, "a number above 0")
        if not _is_since(self.start):
            raise self._refused("since", self.start, "'new', 'earliest' or a Unix time in seconds")
        if self.renamed_from is not None and not is_former_name(self.renamed_from, self.name):
            raise self._refused("renamed_from", self.renamed_from, "the other name that it had before")
        self.dedupe = self._seconds("dedupe", self.dedupe)
        self._check_batch()
        parameters = _positional(self.handler)
        if not parameters:
            raise InvalidListener(
                f"{where(self.handler)}: the listener {self.name!r} takes no event message; write: "
                f"def {self.name}(event_message, **arguments)"
            )

    @property
    def start(self) -> str:
        """The beginning of a new group: ``new``, ``earliest`` or a Unix time in seconds."""
        return str(self.since.timestamp() if isinstance(self.since, datetime) else self.since)

    @property
    def is_async(self) -> bool:
        """Whether the handler is awaited rather than run in a thread."""
        handler = self.handler
        return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
        )

    def _refused(self, option: str, value: object, instead: str) -> InvalidListener:
        return InvalidListener(f"the listener {self.name!r}: {option} is {value!r}; give {instead}")

    def _seconds(
        self, option: str, value: object, example: str = "10m", least: float = 1e-9
    ) -> Duration | None:
        if value is None:
            return None
        try:
            seconds = parse_duration(value)
        except ValueError:
            seconds = Duration(-1)
        if seconds < least:
            bound = "above 0" if least else "from 0 on"
            raise self._refused(option, value, f"seconds {bound}, or {example!r}")
        return seconds

    def _check_batch(self) -> None:
        if self.batch is None:
            if self.batch_wait is not None:
                raise InvalidListener(f"the listener {self.name!r}: batch_wait is for lists; give batch, too")
            return
        if type(self.batch) is not int or not 0 < self.batch <= MOST_AT_ONCE:
            raise self._refused("batch", self.batch, f"a number from 1 to {MOST_AT_ONCE}")
        self.batch_wait = self._seconds(
            "batch_wait", 0.05 if self.batch_wait is None else self.batch_wait, "50ms", 0
        )
        positional = list(_positional(self.handler))
        rest = [p for p in inspect.signature(self.handler).parameters.values() if p.kind is p.KEYWORD_ONLY]
        rest += [p for p in positional[1:] if p.kind is not p.VAR_POSITIONAL]
        demanded = [p.name for p in rest if p.default is p.empty]
        if not positional or demanded:
            reason = f"demands {', '.join(demanded)}" if demanded else "takes no list"
            raise InvalidListener(
                f"{where(self.handler)}: the listener {self.name!r} {reason}, but with batch it is called "
                f"with a list of event messages and nothing else; write: def {self.name}(event_messages)"
            )

    def check_event(self, event_name: str, event: Event) -> None:
        """Check that the handler takes an event's parameters.

        Raises:
            InvalidListener: It lacks one, or demands one that the event does not have.
        """
        if self.batch is not None:
            return
        named, required, takes_any = _keywords(self.handler)
        offered = [p.name for p in event.parameters]
        inbox = inbox_of(self.handler)
        if inbox is not None and inbox.gives in offered:
            raise InvalidListener(
                f"{where(self.handler)}: the inbox of the listener {self.name!r} gives it its "
                f"{inbox.gives!r}, which is a parameter of {event_name}, too; take one of the two out"
            )
        clash = next((n for n in offered if n in _taken(self.handler)), None)
        if clash is not None:
            raise InvalidListener(
                f"{where(self.handler)}: the listener {self.name!r} takes the event message as {clash!r}, "
                f"which is a parameter of {event_name}, too; name it otherwise: def {self.name}(message, ...)"
            )
        lacking = [] if takes_any else [n for n in offered if n not in named]
        surplus = [n for n in required if n not in offered]
        if lacking or surplus:
            signature = ", ".join(["event_message", *offered])
            reason = f"lacks {', '.join(lacking)}" if lacking else f"demands {', '.join(surplus)}"
            raise InvalidListener(
                f"{where(self.handler)}: the listener {self.name!r} {reason}, but {event_name} has "
                f"({', '.join(offered)}); write: def {self.name}({signature})"
            )

    def takes(self) -> Callable[[KeysView[str]], bool]:
        """Return what tells whether the handler can be called with arguments of these names."""
        if self.batch is not None:
            return lambda given: True
        found, required, takes_any = _keywords(self.handler)
        named, needed, taken = frozenset(found), frozenset(required), _taken(self.handler)
        if takes_any:
            return lambda given: needed <= given and given.isdisjoint(taken)
        return lambda given: needed <= given <= named

    def misfit(self, kwargs: Mapping[str, Any]) -> InvalidListener:
        """Return the error for an event with these arguments, which the handler does not take."""
        event = Event(tuple(name for name in kwargs if NAME.fullmatch(name)))
        try:
            self.check_event("the event", event)
        except InvalidListener as e:
            return e
        return InvalidListener(
            f"{where(self.handler)}: the listener {self.name!r} can't take these arguments"
        )

    def caster(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return what turns an event's JSON arguments into those of the handler's hints; built once.

        A handler of lists has no such hints: what it gets is as the event's parameters are declared.
        """
        return arguments_caster(*self._arguments())

    def unconverted(self) -> Iterable[tuple[str, str, str]]:
        """Return each argument's name and hint of which the values are handed over as they come, and how."""
        return ((name, shape.name, shape.told) for name, shape in unconverted(*self._arguments()))

    def _arguments(self) -> tuple[inspect.Signature, dict[str, Any]]:
        """Return the parameters after the event message, and their hints; a handler of lists has none."""
        if self.batch is not None:
            return inspect.Signature(), {}
        signature = inspect.signature(self.handler)
        parameters = list(signature.parameters.values())
        rest = parameters if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL else parameters[1:]
        return signature.replace(parameters=rest), hints_of(_function(self.handler))


def default_name(handler: Handler) -> str:
    """Return the name of a listener that was given none: its function's, which survives restarts.

    Raises:
        InvalidListener: The handler has no name of its own.
    """
    _check_callable(handler)
    name = getattr(handler, "__name__", "")
    if not name or not _NAME.fullmatch(name):
        raise InvalidListener(
            f"the listener {handler!r} has no name that survives a restart; give it one: listener_name='...'"
        )
    return name


def is_former_name(former: object, name: str) -> bool:
    """Tell whether a listener may have had another name before the one that it has."""
    return isinstance(former, str) and _NAME.fullmatch(former) is not None and former != name


def share_api(options: ListenerOptions, of_other: ListenerOptions) -> bool:
    """Tell whether two listeners ask for events of the same API; if not, they read other streams."""
    return not {api for api, _ in options.pairs}.isdisjoint(api for api, _ in of_other.pairs)


def shares_group(name: str, options: ListenerOptions, other: str, of_other: ListenerOptions) -> bool:
    """Tell whether two listeners would have the same group of a stream, by their names now or before."""
    former, formers = options.renamed_from, of_other.renamed_from
    is_same = (former is not None and former in (other, formers)) or formers == name
    return is_same and share_api(options, of_other)


def _check_callable(handler: object) -> None:
    if not callable(handler):
        raise InvalidListener(f"a listener is called with each event, but {handler!r} can't be called")
    if isinstance(handler, type):
        raise InvalidListener(
            f"{where(handler)}: a listener is called with each event, but {handler.__qualname__} is a class, "
            "of which each event would only make an object; give a function, or an object with __call__"
        )


def _is_since(since: str) -> bool:
    if since in ("new", "earliest"):
        return True
    try:
        return 0 <= float(since) < math.inf
    except ValueError:
        return False


def _function(handler: Handler) -> Handler:
    """Return the function behind a ``functools.partial`` or an object with ``__call__``."""
    handler = getattr(handler, "func", handler)
    return handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004


def _positional(handler: Handler) -> Sequence[inspect.Parameter]:
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    return [p for p in inspect.signature(handler).parameters.values() if p.kind in kinds]


def _taken(handler: Handler) -> frozenset[str]:
    """The names under which the event message and a session are given, which no argument can have then."""
    first = next(iter(inspect.signature(handler).parameters.values()))
    inbox = inbox_of(handler)
    given = {inbox.gives} if inbox is not None else set()
    return frozenset(given | ({first.name} if first.kind is first.POSITIONAL_OR_KEYWORD else set()))


def _keywords(handler: Handler) -> tuple[set[str], list[str], bool]:
    """The names after the event message, those without a default, and whether there is a ``**``."""
    parameters = list(inspect.signature(handler).parameters.values())
    if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        parameters = parameters[1:]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name for p in named}, [p.name for p in named if p.default is p.empty], takes_any
