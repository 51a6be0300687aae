"""Listeners that take lists: collecting events into lists, and running a handler on one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from lightbus.bus.parts import Parts
from lightbus.declared.listener import Listener
from lightbus.exceptions import ValidationError
from lightbus.messages import EventMessage, handled
from lightbus.plugins.hooks import Beside
from lightbus.runtime import traffic
from lightbus.runtime.cancellation import end, is_cancelled
from lightbus.runtime.tasks import why_ended
from lightbus.transports.events import Delivery

from .dispatch import Caster, Dispatch

logger = logging.getLogger(__name__)

Take = Callable[[int], Coroutine[Any, Any, Sequence[Delivery]]]


class Collector:
    """Makes lists of the events of one consumer. A list ends when it is full or has waited long enough.

    Args:
        take: Waits for deliveries, and returns at most as many as it is asked for.
        size: The most events of one list.
        wait: Seconds that a list waits for more events after its first.
    """

    def __init__(self, take: Take, size: int, wait: float) -> None:
        self._take = take
        self._size = size
        self._wait = wait
        self._held: list[Delivery] = []
        self._until = 0.0
        #: The reading that is under way. It may outlast the list for which it was begun.
        self._reading: asyncio.Task[Sequence[Delivery]] | None = None
        self._stopping = False

    async def take(self, limit: int) -> Sequence[list[Delivery]]:
        """Return up to ``limit`` lists; waits a while for the first event, and may return none."""
        clock = asyncio.get_running_loop().time
        while True:
            found = await self._read(limit * self._size - len(self._held))
            if found and not self._held:
                self._until = clock() + self._wait
            lists = self._sort(found)
            if self._held and (self._stopping or clock() >= self._until):
                lists.append(self._held)
                self._held = []
            if lists or not self._held:
                return lists

    def stop(self) -> None:
        """Let no list wait for more events from now on."""
        self._stopping = True

    async def close(self) -> None:
        """Hand back the events that are in no list yet; :meth:`take` must not be running any more."""
        left, self._held = self._held, []
        reading, self._reading = self._reading, None
        if reading is not None:
            # It is not cancelled: the events that it has read would be lost until their leases run out.
            await asyncio.wait([reading])
            if reading.cancelled() or reading.exception() is not None:
                logger.error("the last events of a list could not be read: %s", why_ended(reading))
            else:
                left += reading.result()
        await release(left)

    def abandon(self) -> None:
        """Wait no longer for a broker that is away."""
        if self._reading is not None:
            end(self._reading)

    async def _read(self, most: int) -> Sequence[Delivery]:
        if self._reading is None:
            if not self._held:
                return await self._take(most)
            if self._stopping:
                return ()
            self._reading = asyncio.get_running_loop().create_task(self._take(most), name="lightbus list")
        # It is never cancelled: the events that it has read would be lost until their leases run out.
        left = max(0.0, self._until - asyncio.get_running_loop().time()) if self._held else None
        done, _ = await asyncio.wait([self._reading], timeout=left)
        if not done:
            return ()
        reading, self._reading = self._reading, None
        return reading.result()

    def _sort(self, found: Sequence[Delivery]) -> list[list[Delivery]]:
        """Return the lists that are full. A retry or a suspect is alone in its list: it may fail again."""
        lists = []
        for delivery in found:
            if delivery.attempt > 1 or delivery.is_suspect:
                lists.append([delivery])
                continue
            self._held.append(delivery)
            if len(self._held) == self._size:
                lists.append(self._held)
                self._held = []
        return lists


class BatchRunner:
    """Runs the handler of one listener on lists; if a list fails, on each of its events alone."""

    def __init__(self, parts: Parts, dispatch: Dispatch, listener: Listener) -> None:
        self._parts = parts
        self._dispatch = dispatch
        self._listener = listener
        self._stopping = False

    def stop(self) -> None:
        """From now on, hand back the events of a list that fails, in place of handling each alone."""
        self._stopping = True

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Run the handler on events and settle each of them, whatever happens."""
        # The events that are not settled yet; the methods below take out those that they settle.
        left = list(deliveries)
        handled.set([])
        try:
            fit = await self._make_fit(left) if len(left) > 1 else []
            if fit:
                await self._handle_together(fit, left)
            await self._handle_each(left, is_again=len(deliveries) > 1)
        except (asyncio.CancelledError, Exception):
            # The process ends: released events go to another process at once, not after their leases.
            await release(left)
            raise

    async def _handle_together(self, fit: list[Delivery], left: list[Delivery]) -> None:
        listener, hooks, parts = self._listener, self._parts.hooks, self._parts
        messages = [delivery.message for delivery in fit]
        started = time.perf_counter()
        around = Beside()
        try:
            if hooks.around_event_execution:
                for message in messages:
                    around.enter(hooks.around_event_execution(message, listener.name))
            # A list of its own, which the handler may change.
            await self._dispatch.handle_list(listener, messages.copy())
        except BaseException as e:
            around.leave([e] * len(fit))
            if is_cancelled(e):
                raise
            await self._tell_failure(len(fit), e)
            return
        outcomes = around.leave([None] * len(fit))
        failures = [error for error in outcomes if error is not None]
        if failures:
            await self._tell_failure(len(failures), failures[0])
            fit = [delivery for delivery, error in zip(fit, outcomes, strict=True) if error is None]
            messages = [delivery.message for delivery in fit]
        if hooks.after_event_execution:
            for message in messages:
                await hooks.after_event_execution(message)
        for delivery in fit:
            delivery.ack()
        if len(fit) == len(left):
            left.clear()
        else:
            done = set(fit)
            left[:] = [delivery for delivery in left if delivery not in done]
        # Each has its share of the time.
        seconds = (time.perf_counter() - started) / max(1, len(fit))
        for names_of, count in Counter([(m.api_name, m.event_name) for m in messages]).items():
            parts.metrics.event_handlings.add((listener.name, *names_of), "ok", seconds, count)
        for message in messages if traffic.is_logged(traffic.DEBUG) else ():
            traffic.log("got", message, "ok", seconds, listener.name)

    async def _tell_failure(self, count: int, error: BaseException) -> None:
        what = "the listener %s raised on a list of %d events, and gets each of them alone now: %r"
        logger.warning(what, self._listener.name, count, error)
        await self._parts.hooks.report(error)

    async def _handle_each(self, left: list[Delivery], *, is_again: bool) -> None:
        while left:
            delivery = left[0]
            if is_again and (self._stopping or not self._listener.enabled):
                await delivery.release()
            else:
                if is_again:
                    delivery.reread()
                handling = self._handle_one(delivery)
                # After a list has failed, each of its events starts in a fresh context, as the list did.
                await (self._dispatch.isolation.run(handling) if is_again else handling)
            left.remove(delivery)

    async def _handle_one(self, delivery: Delivery) -> None:
        of_log_lines = [delivery.message.id]
        handled.set(of_log_lines)
        try:
            await self._dispatch.handle(self._listener, delivery)
        finally:
            of_log_lines.clear()

    async def _make_fit(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Validate and cast; return the events that fit. The others are refused later, each alone."""
        hooks = self._parts.hooks
        checks: dict[tuple[str, str], tuple[Callable[[object], None] | None, Caster | None] | None] = {}
        fit = []
        for delivery in deliveries:
            message = delivery.message
            names = message.api_name, message.event_name
            if names not in checks:
                checks[names] = self._checks_of(message)
            check = checks[names]
            if check is None:
                continue
            validate, cast = check
            try:
                if hooks.before_event_execution:
                    await hooks.before_event_execution(message)
                kwargs = message.kwargs
                if validate is not None:
                    validate(kwargs)
                if cast is not None:
                    message.kwargs = cast(kwargs)
            except ValidationError:
                continue
            except BaseException as e:
                if is_cancelled(e):
                    raise
                continue
            fit.append(delivery)
        return fit

    def _checks_of(
        self, message: EventMessage
    ) -> tuple[Callable[[object], None] | None, Caster | None] | None:
        """Return the validator and the caster of an event; None if its contract must be looked for first."""
        parts = self._parts
        settings = parts.settings(message.api_name)
        validate = None
        if settings.validate.incoming or settings.strict_validation:
            validator = parts.contracts.event(message.api_name, message.event_name)
            if validator is None:
                return None
            if settings.validate.incoming:
                validate = validator.validate
        cast = self._dispatch.event_caster(message) if settings.cast_values else None
        return validate, cast


async def release(deliveries: Sequence[Delivery]) -> None:
    """Hand back events that were not started, or not finished."""
    await asyncio.gather(*(delivery.release() for delivery in deliveries))
