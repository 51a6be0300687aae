"""Policies for an event whose handler failed: retry, dead letter and others. Pure values: nothing waits."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from lightbus.exceptions import InvalidListener
from lightbus.options import Duration, option


class OnError(Enum):
    """The end of an event that failed for the last time."""

    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    ACKNOWLEDGE_AND_LOG = "acknowledge_and_log"
    STOP_LISTENER = "stop_listener"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one failed delivery.

    Args:
        action: The action; ``RETRY`` for one more attempt.
        delay: For a retry, the seconds until it.
    """

    action: OnError
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each retry."""

    initial: Duration = option(Duration(1), "The wait before the first retry.", minimum=0)
    factor: float = option(4.0, "The factor by which each wait is longer than the one before.", minimum=1)
    max: Duration = option(Duration(900), "The longest wait.", minimum=0)
    jitter: bool = option(True, "Whether waits are spread at random over their upper half.")

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the given attempt, which counts from 1."""
        # The exponent is bounded, since 4.0 ** 1000 overflows.
        wait = float(min(self.max, self.initial * self.factor ** min(attempt - 1, 64)))
        return wait * random.uniform(0.5, 1.0) if self.jitter else wait  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How often an event is tried, with what waits, and what becomes of it then."""

    attempts: int = option(8, "How often a handler is tried in all.", minimum=1, maximum=1_000_000)
    backoff: Backoff = option(factory=Backoff, description="The waits between the attempts.")
    then: OnError = option(OnError.DEAD_LETTER, "The end of an event after the last attempt.")
    give_up_on: tuple[type[BaseException], ...] = option(
        (), "Exception types that no further attempt can cure."
    )
    max_deaths: int = option(
        3,
        "The runs that ended in the death of their process after which an event becomes a dead letter; a "
        "process that was told to end does not count.",
        minimum=1,
        maximum=1_000_000,
    )

    @property
    def span(self) -> float:
        """The longest time from the first attempt to the last, in seconds, without those of the runs."""
        waits, total, backoff = self.attempts - 1, 0.0, self.backoff
        if backoff.factor == 1 or not backoff.initial:
            return waits * min(backoff.initial, backoff.max)
        wait = float(backoff.initial)
        while waits and wait < backoff.max:
            waits, total, wait = waits - 1, total + wait, wait * backoff.factor
        return total + waits * backoff.max

    def decide(self, attempt: int, error: BaseException) -> Decision:
        """Say what to do with a delivery that failed.

        Args:
            attempt: How often it was tried, this time included.
            error: The error of the handler.

        Returns:
            A retry with its delay, or the final action.
        """
        final = attempt >= self.attempts or isinstance(error, self.give_up_on)
        if self.then is OnError.RETRY:
            final = isinstance(error, self.give_up_on)
        if not final:
            return Decision(OnError.RETRY, self.backoff.delay(attempt))
        # An error that no further attempt can cure is not retried for ever.
        return Decision(OnError.DEAD_LETTER if self.then is OnError.RETRY else self.then)

    @classmethod
    def of(cls, on_error: DeliveryPolicy | OnError) -> DeliveryPolicy:
        """Return the policy that a bare ``on_error`` stands for.

        ``RETRY`` retries for ever and ``DEAD_LETTER`` after 8 attempts; the others act on the first failure,
        as in Lightbus 1.x.

        Raises:
            InvalidListener: It is neither.
        """
        if isinstance(on_error, DeliveryPolicy):
            return on_error
        if not isinstance(on_error, OnError):
            choices = ", ".join(f"OnError.{each.name}" for each in OnError)
            raise InvalidListener(f"on_error is {on_error!r}; give one of {choices}, or a DeliveryPolicy")
        if on_error in (OnError.RETRY, OnError.DEAD_LETTER):
            return cls(then=on_error)
        return cls(attempts=1, then=on_error)
