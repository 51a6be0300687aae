"""Handlers with an inbox, made ready for the listener that they run for."""

from __future__ import annotations

import logging

from lightbus.bus.parts import Parts
from lightbus.declared.definition import where
from lightbus.declared.inbox import Handler, Recipient, inbox_of, received
from lightbus.declared.listener import Listener
from lightbus.exceptions import ConfigurationError, InvalidListener
from lightbus.messages import MAX_ID

logger = logging.getLogger(__name__)


def handler_of(parts: Parts, listener: Listener) -> Handler:
    """Return what is called with the events of a listener: its handler, which knows then for whom it runs.

    Raises:
        InvalidListener: Its inbox can't be used.
    """
    inbox = inbox_of(listener.handler)
    if inbox is None:
        return listener.handler
    place = f"{where(listener.handler)}: the listener {listener.name}"
    try:
        inbox.check()
    except ConfigurationError as e:
        raise InvalidListener(f"{place}: {e}") from e
    groups = {}
    for api in dict.fromkeys(api for api, _ in listener.events):
        # Under both names: an event that was handled under the one before may come once more.
        names = filter(None, (listener.renamed_from, listener.name))
        groups[api] = [parts.group_of(name, api) for name in names]
        if max(map(len, groups[api])) > MAX_ID:
            raise InvalidListener(f"{place}: its group has a longer name than an inbox notes: {groups[api]}")
    span = listener.on_error.span
    if inbox.keep < span:
        logger.warning(
            "%s: its inbox forgets an event %g s after it was handled, and its policy may try one again for "
            "%g s; give a longer keep, or what comes twice may run twice",
            place,
            inbox.keep,
            span,
        )
    return received(
        listener.handler,
        Recipient(listener.name, groups, parts.metrics.inbox.add),
        is_async=listener.is_async,
    )
