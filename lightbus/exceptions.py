"""Everything that Lightbus raises.

::

    LightbusException
    ├── ConfigurationError          the process can't start like this
    │   ├── ManifestError           one or more located problems in the manifest
    │   ├── FailedToImportBusModule
    │   ├── MisconfiguredApiOptions a class derived from Api is written wrongly
    │   │   └── InvalidName
    │   ├── DuplicateApi
    │   ├── DuplicateListenerName
    │   ├── InvalidListener
    │   ├── InvalidSchedule
    │   ├── TransportNotFound
    │   └── MissingExtra            an optional dependency is not installed
    ├── UnknownApi                  the code asks for something that does not exist
    │   ├── NotAuthoritative        only an API's owner fires its events
    │   └── SchemaNotFound          no contract is known
    ├── UndeclaredCall              the manifest does not declare it, and strict_calls is on
    ├── EventNotFound
    ├── ProcedureNotFound
    ├── InvalidParameters           the arguments are not what the procedure takes
    │   └── InvalidEventArguments
    ├── ValidationError             a value does not fit the contract
    ├── InvalidMessage              bytes that are not a message
    ├── SyncCallOnEventLoop
    ├── BusAlreadyClosed
    ├── ScheduleRefused             a schedule is not run by hand as things are
    ├── OutboxError                 an event can't be written with the data
    │   ├── NotInTransaction
    │   ├── OutboxTableMissing
    │   └── OutboxRequired          its API is fired by way of an outbox only
    ├── InboxError                  an event can't be handled together with a note of that
    │   └── InboxTableMissing
    ├── TransportError              the broker
    │   ├── TransportUnavailable    it can't be reached
    │   ├── PublishNotConfirmed     it may or may not have stored the event
    │   ├── EventsNotFired          of a list of events, not all are stored for sure
    │   ├── AuditRefused            an act can't be noted, and is not done for that
    │   ├── StreamFull
    │   └── QueueFull
    └── RpcError                    a call that brought no result
        ├── LightbusTimeout
        ├── NoWorker
        ├── WorkerLost
        └── LightbusWorkerError     the procedure itself raised
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


def text_of(error: BaseException) -> str:
    """Return an exception's type and text, of which user code may make anything."""
    try:
        return repr(error)
    except Exception:
        return f"{type(error).__name__}()"


class LightbusException(Exception):
    """Base of every error that Lightbus raises on purpose."""


class ConfigurationError(LightbusException):
    """The process can't start as it is configured; nothing was taken from the bus."""


class ManifestError(ConfigurationError):
    """The manifest has problems; each line of the message locates one.

    Args:
        problems: One rendered line per problem, ``file:line:column  path: what; what to do``.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class FailedToImportBusModule(ConfigurationError):
    """A bus module can't be imported; the message names the module and the line that failed."""


class MisconfiguredApiOptions(ConfigurationError):
    """A class derived from Api has no usable ``Meta``, or takes a name that can't be used."""


class InvalidName(MisconfiguredApiOptions):
    """An API, event, procedure or parameter has a name that can't travel over the bus."""


class DuplicateApi(ConfigurationError):
    """Two different classes want to be the same API; rename one, or import only one."""


class DuplicateListenerName(ConfigurationError):
    """Two listeners share a name, hence a consumer group: each would get half of the events."""


class InvalidListener(ConfigurationError):
    """A listener can't take the events that it asks for; the message shows the signature to write."""


class InvalidSchedule(ConfigurationError):
    """A schedule says neither when nor how often it runs."""


class TransportNotFound(ConfigurationError):
    """No installed package offers a transport of that name."""


class MissingExtra(ConfigurationError):
    """A feature needs an optional dependency.

    Args:
        feature: The feature, as the user wrote it.
        extra: The extra of Lightbus that installs what is missing.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra {extra!r}; run: pip install 'lightbus[{extra}]'")


class UnknownApi(LightbusException):
    """No API of that name is known here or on the bus."""


class NotAuthoritative(UnknownApi):
    """Only the service that owns an API may fire its events."""


class SchemaNotFound(UnknownApi):
    """No contract is known for that API; its owner publishes one while it runs."""


class UndeclaredCall(LightbusException):
    """The manifest does not declare that this service calls it, and ``strict_calls`` is on."""


class EventNotFound(LightbusException):
    """The API has no event of that name."""


class ProcedureNotFound(LightbusException):
    """The API has no procedure of that name."""


class InvalidParameters(LightbusException):
    """The arguments are not those that the procedure takes."""


class InvalidEventArguments(InvalidParameters):
    """The arguments are not those that the event declares."""


class ValidationError(LightbusException):
    """A value does not fit the API's contract; the message gives the path to it."""


class InvalidMessage(LightbusException):
    """The bytes are not a message in the Lightbus wire format."""


class SyncCallOnEventLoop(LightbusException):
    """A blocking form was used on a running event loop, which it would stop.

    Args:
        blocking: The call as it was written.
        awaitable: The form to await instead.
    """

    def __init__(self, blocking: str, awaitable: str) -> None:
        super().__init__(
            f"{blocking} blocks, but was called on a running event loop; write: await {awaitable}"
        )


class BusAlreadyClosed(LightbusException):
    """The bus was closed and takes no more calls; make a new one with lightbus.create()."""

    def __init__(self, text: str = "this bus was closed; make a new one with lightbus.create()") -> None:
        super().__init__(text)


class OutboxError(LightbusException):
    """An event can't be fired by way of an outbox, or only so."""


class NotInTransaction(OutboxError):
    """An outbox was used outside of a transaction, so that the event would not commit with the data."""


class OutboxTableMissing(OutboxError):
    """The database has no table for an outbox; the message says what makes it."""


class OutboxRequired(OutboxError):
    """The API's events go through an outbox only, and this one was fired without."""


class InboxError(LightbusException):
    """A handler with an inbox keeps its effects from committing together with the note that it is done."""


class InboxTableMissing(InboxError):
    """The database has no table for an inbox; the message says what makes it."""


class TransportError(LightbusException):
    """The broker refused or failed."""


class TransportUnavailable(TransportError):
    """The broker can't be reached; nothing was sent."""


class PublishNotConfirmed(TransportError):
    """The broker did not confirm the event: it may or may not be stored, or too few replicas have it.

    Args:
        message: The text for people.
        event_id: The id of the event, to look for it or to fire it again safely.
    """

    def __init__(self, message: str, event_id: str) -> None:
        super().__init__(message)
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class FireOutcome:
    """The outcome of one event of a list.

    Args:
        index: Its place in the list, from 0.
        event_id: Its id.
        state: Whether the broker has it; ``unknown`` where the link broke before it said so.
        native_id: The broker's id, where it has stored the event.
        error: Why it was not stored, or why that is not known.
    """

    index: int
    event_id: str
    state: Literal["stored", "not stored", "unknown"]
    native_id: str | None = None
    error: LightbusException | None = None


class EventsNotFired(TransportError):
    """Of a list of events, some are not stored, or may not be; fire those of ``rest`` again.

    Args:
        message: The text for people.
        outcomes: The outcome of each event, in their order.
    """

    def __init__(self, message: str, outcomes: Sequence[FireOutcome]) -> None:
        super().__init__(message)
        self.outcomes = outcomes

    @property
    def rest(self) -> list[FireOutcome]:
        """The outcomes of the events that are not stored for sure."""
        return [outcome for outcome in self.outcomes if outcome.state != "stored"]


class AuditRefused(TransportError):
    """Something is not done on the bus, since it can't be noted in the audit who does it."""


class StreamFull(TransportError):
    """Listeners are so far behind that the stream takes no further events."""


class ScheduleRefused(LightbusException):
    """A schedule is not run by hand as things are."""


class GroupRefused(TransportError):
    """A listener's group can't be removed, moved or set to another place as things are."""


class QueueFull(TransportError):
    """Workers are so far behind that the queue takes no further calls."""


class RpcError(LightbusException):
    """A remote procedure call brought no result."""


class LightbusTimeout(RpcError):
    """No answer came in time.

    Args:
        message: The text for people.
        executed: ``"no"`` where the call was withdrawn before anybody took it, ``"unknown"`` otherwise.
    """

    def __init__(self, message: str, executed: Literal["no", "unknown"] = "unknown") -> None:
        super().__init__(message)
        self.executed = executed


class NoWorker(RpcError):
    """Nobody serves the API at the moment; start its owner."""


class WorkerLost(RpcError):
    """The process that was running the call died; the call may have had effects."""


class LightbusWorkerError(RpcError):
    """The procedure raised; the text is the remote exception's type and message."""
