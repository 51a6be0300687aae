"""The declarations of bus modules: APIs, listeners, schedules, background tasks, hooks, features."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar, Unpack

from lightbus.declared.api import Api
from lightbus.declared.listener import (
    Handler,
    Listener,
    ListenerOptions,
    default_name,
    share_api,
    shares_group,
)
from lightbus.declared.old_names.arguments import OldTaskArguments, check_task_arguments
from lightbus.declared.policy import DeliveryPolicy, OnError
from lightbus.declared.registry import Registry
from lightbus.declared.schedule import BackgroundTask, Job, Missed, OnFailure, Schedule, Scope, period_of
from lightbus.declared.settings import FEATURES, Feature
from lightbus.exceptions import (
    ConfigurationError,
    DuplicateListenerName,
    InvalidListener,
    InvalidParameters,
    InvalidSchedule,
)
from lightbus.plugins import LightbusPlugin, callbacks_of
from lightbus.plugins.hooks import HOOKS, Callback, Hooks

from .bus_options import options_given

F = TypeVar("F", bound=Callback)
#: The options of a listener that have no argument of their own.
_LISTENER_OPTIONS = [
    each.name
    for each in fields(ListenerOptions)
    if each.name not in ("events", "handler", "on_error", "enabled", "inbox", "inbox_keep")
]


class Declarations:
    """The declarations of bus modules, for a host to run."""

    def __init__(self, registry: Registry, hooks: Hooks) -> None:
        self.registry = registry
        self.hooks = hooks
        #: The plugins that are in use, by name.
        self.plugins: dict[str, LightbusPlugin] = {}
        #: The listeners, each under its key.
        self.listeners: dict[str, Listener] = {}
        #: The schedules of the code, by name.
        self.recurring: dict[str, Schedule] = {}
        #: The schedules of the manifest, by name.
        self.schedules: dict[str, Schedule] = {}
        self.background: list[BackgroundTask] = []
        self.features: tuple[Feature, ...] = FEATURES

    def register_api(self, api: Api | type[Api]) -> None:
        """Offer an API on this bus.

        Args:
            api: An object of a class derived from ``Api``, or such a class.

        Raises:
            DuplicateApi: Another class has the same name.
        """
        self.registry.add(api)

    def listen_for_event(
        self,
        api_name: str,
        name: str,
        listener: Handler,
        listener_name: str | None = None,
        options: Mapping[str, Any] | None = None,
        on_error: OnError | DeliveryPolicy = OnError.DEAD_LETTER,
    ) -> Listener:
        """Handle an event; see :meth:`listen_for_events`."""
        return self.listen_for_events([(api_name, name)], listener, listener_name, options, on_error)

    def listen_for_events(
        self,
        events: Sequence[tuple[str, str]],
        listener: Handler,
        listener_name: str | None = None,
        options: Mapping[str, Any] | None = None,
        on_error: OnError | DeliveryPolicy = OnError.DEAD_LETTER,
    ) -> Listener:
        """Handle events while this process is hosted by ``lightbus run``.

        Args:
            events: Pairs of API and event name; ``*`` as event stands for all of an API's.
            listener: Called as ``listener(event_message, **arguments)``; with ``batch``, as
                ``listener(event_messages)``.
            listener_name: Names the consumer group; the function's name if not given.
            options: ``since`` (``new``, ``earliest`` or a Unix time in seconds), read when the group is first
                made; ``concurrency``, how many events are handled at a time; ``dedupe``, for how long an
                event that was acknowledged does not run again (seconds, or text such as ``10m``); ``batch``,
                up to how many events it gets as a list; and ``batch_wait``, how long a list waits for more
                after its first event; ``renamed_from``, the listener's name before: it takes over what waits
                there.
            on_error: The policy for an event whose handler raises.

        Returns:
            The listener's record.

        Raises:
            DuplicateListenerName: Another function listens to the same API under this name.
            InvalidListener: The listener can't take the events.
        """
        given = options_given(options)
        unknown = [name for name in given if name not in _LISTENER_OPTIONS]
        if unknown:
            known = f"{', '.join(_LISTENER_OPTIONS[:-1])} and {_LISTENER_OPTIONS[-1]}"
            raise InvalidParameters(f"listen() has no option {unknown[0]!r}; it has {known}")
        if "since" in given:
            given["since"] = str(given["since"])
        record = Listener(
            name=listener_name or default_name(listener),
            events=tuple(events),
            handler=listener,
            on_error=DeliveryPolicy.of(on_error),
            **given,
        )
        return self.add_listener(record)

    def add_listener(self, record: Listener) -> Listener:
        """Add a listener's record; the same function under the same name handles the events of both.

        Listeners of different APIs may have one name: they read the same group, each of its own streams.

        Raises:
            DuplicateListenerName: Another function, or other options, have the name for the same API.
            InvalidListener: The handler can't take the events.
        """
        for api_name, event_name in record.events:
            definition = self.registry.find(api_name)
            if definition is not None and event_name != "*":
                record.check_event(f"{api_name}.{event_name}", definition.event(event_name))
        for other in self.listeners.values():
            if other.name != record.name and shares_group(record.name, record, other.name, other):
                raise InvalidListener(
                    f"the listeners {other.name!r} and {record.name!r} would both have what waits for one of "
                    "them: take out renamed_from, or give one of them another listener_name"
                )
        of_its_name = [known for known in self.listeners.values() if known.name == record.name]
        same = [k for k in of_its_name if replace(k, events=record.events, enabled=record.enabled) == record]
        for known in of_its_name:
            if known not in same and share_api(known, record):
                raise DuplicateListenerName(
                    f"two listeners are named {record.name!r}, so each would get only some of the events: "
                    f"{known.handler!r} and {record.handler!r}; give one of them another listener_name"
                )
        if same:
            known = same[0]
            known.events = tuple(dict.fromkeys([*known.events, *record.events]))
            known.in_code = known.in_code and record.in_code
            return known
        apis = ", ".join(dict.fromkeys(api for api, _ in record.events))
        record.key = f"{record.name} of {apis}" if of_its_name else record.name
        self.listeners[record.key] = record
        return record

    def find_listener(self, like: Listener) -> Listener:
        """Return the listener that was added with this name and for an API of this one."""
        return next(k for k in self.listeners.values() if k.name == like.name and share_api(k, like))

    def listened(self, *, enabled: bool = False) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return the events that are listened to by name, of listeners of one name together.

        Args:
            enabled: Whether only listeners that run are meant.
        """
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for listener in self.listeners.values():
            if listener.enabled or not enabled:
                found[listener.name] = (*found.get(listener.name, ()), *listener.events)
        return found

    def add_background_task(
        self,
        coroutine: Coroutine[Any, Any, Any],
        *,
        on_failure: OnFailure = "log",
        **of_1x: Unpack[OldTaskArguments],
    ) -> None:
        """Run a coroutine for as long as the host runs; it is cancelled at the end.

        Args:
            coroutine: The coroutine to run.
            on_failure: The reaction of the host if it raises: ``log`` to go on, ``shutdown`` to finish
                running work and end with status 1. The failure is logged in any case.
            of_1x: Arguments of Lightbus 1.x, which warn.

        Raises:
            InvalidSchedule: It is no coroutine, or is not to be cancelled.
        """
        task = BackgroundTask(coroutine, on_failure)
        check_task_arguments(of_1x, task.discard)
        self.background.append(task)

    def discard_background(self) -> None:
        """Forget background tasks that were never begun; Python would warn of their coroutines."""
        for task in self.background:
            task.discard()

    def every(
        self,
        *,
        seconds: float = 0,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        also_run_immediately: bool = False,
        name: str | None = None,
        scope: Scope = "process",
        missed: Missed = "skip",
        overlap: bool = False,
    ) -> Callable[[F], F]:
        """Decorate a function that the host calls again and again, at equal intervals.

        Args:
            seconds: Added to the other three.
            minutes: Of 60 s.
            hours: Of 60 minutes.
            days: Of 24 hours.
            also_run_immediately: Whether it also runs at the start; with the scope ``service``, unless some
                process has run the last time.
            name: Unique in the service; the function's name if not given.
            scope: Whether one process of the service runs it at each time, or each ``process`` does.
            missed: With the scope ``service``, whether the last time that was missed is made up for
                (``run_once``) or not (``skip``). It is missed if no process ran, or the broker was away.
            overlap: Whether a run may begin while one before it still goes on; else that time is skipped.

        Raises:
            InvalidSchedule: The time is not above zero, or the options don't go together.
        """
        for value in (seconds, minutes, hours, days):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidSchedule(
                    f"every() takes numbers of seconds, minutes, hours and days; got {value!r}"
                )
        interval = seconds + 60 * minutes + 3600 * hours + 86400 * days
        options = {"scope": scope, "missed": missed, "overlap": overlap, "immediately": also_run_immediately}
        return self._scheduler(name, every=interval, **options)

    def schedule(
        self,
        schedule_job: Job | str,
        also_run_immediately: bool = False,
        *,
        timezone: str | None = None,
        name: str | None = None,
        scope: Scope = "process",
        missed: Missed = "skip",
        overlap: bool = False,
    ) -> Callable[[F], F]:
        """Decorate a function that the host calls at certain times.

        Args:
            schedule_job: The five fields of cron (``"0 2 * * *"``) or a job of the library ``schedule``.
            also_run_immediately: See :meth:`every`, as for the other options.
            timezone: The time zone of cron, such as ``Europe/London``; UTC if not given.
            name: Unique in the service; the function's name if not given.
            scope: ``process`` or ``service``.
            missed: ``skip`` or ``run_once``.
            overlap: Whether runs may overlap.

        Raises:
            InvalidSchedule: The times can't be read or never come, or the options don't go together.
        """
        options = {"scope": scope, "missed": missed, "overlap": overlap, "immediately": also_run_immediately}
        if isinstance(schedule_job, str):
            return self._scheduler(name, cron=schedule_job, timezone=timezone, **options)
        period = period_of(schedule_job)
        if period is not None and timezone is None:
            return self._scheduler(name, every=period, **options)
        return self._scheduler(name, job=schedule_job, timezone=timezone, **options)

    def all_schedules(self) -> dict[str, Schedule]:
        """Return the schedules of the code and of the manifest, by name."""
        return {**self.recurring, **self.schedules}

    def _scheduler(self, name: str | None, **options: Any) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            record = Schedule(name=name or _name_of(function), call=function, **options)
            self._add_schedule(record, named=bool(name))
            return function

        return decorate

    def _add_schedule(self, record: Schedule, *, named: bool) -> None:
        known, number = self.all_schedules(), 2
        name = record.name
        if name in known and (named or record.scope == "service" or known[name].scope == "service"):
            raise InvalidSchedule(
                f"two schedules are named {name!r}, so that one process would run both as if they were one; "
                "give one of them another name='...'"
            )
        while name in known:
            name, number = f"{record.name} ({number})", number + 1
        self.recurring[name] = replace(record, name=name)

    def set_features(self, features: Sequence[Feature]) -> None:
        """Choose the features of a host of this bus: any of ``rpcs``, ``events``, ``tasks`` and ``outbox``.

        Raises:
            ConfigurationError: One of them does not exist.
        """
        if isinstance(features, str) or not features:
            raise ConfigurationError(
                f"features are a list of at least one of {', '.join(FEATURES)}; got {features!r}"
            )
        unknown = [f for f in features if f not in FEATURES]
        if unknown:
            raise ConfigurationError(f"there is no feature {unknown[0]!r}; there are {', '.join(FEATURES)}")
        self.features = tuple(features)

    def use_plugins(self, plugins: Mapping[str, LightbusPlugin]) -> None:
        """Use these plugins as well: their hooks run from now on.

        Args:
            plugins: The plugins by name; they run in the order of their priority, then of their names.
        """
        self.plugins |= plugins
        self.hooks.set_plugins(callbacks_of(self.plugins))

    def hook(self, name: str, callback: F | None = None, *, before_plugins: bool = False) -> Any:
        """Register a callback of a hook; without one, return a decorator that does.

        Args:
            name: One of the hooks' names.
            callback: Called with the hook's keyword arguments.
            before_plugins: Whether it runs before those of plugins.
        """
        if name not in HOOKS:
            raise ConfigurationError(f"there is no hook {name!r}; there are {', '.join(HOOKS)}")

        def decorate(function: F) -> F:
            self.hooks.add(name, function, before_plugins=before_plugins)
            return function

        return decorate if callback is None else decorate(callback)

    def before_worker_start(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs before the host takes anything."""
        return self.hook("before_worker_start", callback, before_plugins=before_plugins)

    def after_worker_stopped(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs after the host has finished everything."""
        return self.hook("after_worker_stopped", callback, before_plugins=before_plugins)

    def before_rpc_call(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs before a call is sent; it gets rpc_message."""
        return self.hook("before_rpc_call", callback, before_plugins=before_plugins)

    def after_rpc_call(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs after a call was answered; it gets rpc_message and result_message."""
        return self.hook("after_rpc_call", callback, before_plugins=before_plugins)

    def before_rpc_execution(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs before a procedure runs; it gets rpc_message."""
        return self.hook("before_rpc_execution", callback, before_plugins=before_plugins)

    def after_rpc_execution(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs after a procedure ran; it gets rpc_message and result_message."""
        return self.hook("after_rpc_execution", callback, before_plugins=before_plugins)

    def before_event_sent(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs before an event is fired; it gets event_message."""
        return self.hook("before_event_sent", callback, before_plugins=before_plugins)

    def after_event_sent(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs after an event was stored; it gets event_message."""
        return self.hook("after_event_sent", callback, before_plugins=before_plugins)

    def before_event_execution(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs before a listener runs; it gets event_message."""
        return self.hook("before_event_execution", callback, before_plugins=before_plugins)

    def after_event_execution(self, callback: Any = None, *, before_plugins: bool = False) -> Any:
        """Decorate a callback that runs after a listener ran; it gets event_message."""
        return self.hook("after_event_execution", callback, before_plugins=before_plugins)

    #: The names that Lightbus 1.x users know best.
    on_start = before_worker_start
    on_stop = after_worker_stopped


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
