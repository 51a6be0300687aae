"""The inboxes that a manifest gives to its listeners."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from lightbus.declared.inbox import Handler, inbox_of
from lightbus.declared.listener import ListenerOptions
from lightbus.exceptions import ConfigurationError
from lightbus.manifest.model import Manifest

from .inbox import KEEP


def with_inbox(
    handler: Handler, options: ListenerOptions, manifest: Manifest, import_object: Callable[[str], Any]
) -> Handler:
    """Return a handler with the inbox that its listener has in the manifest.

    Args:
        handler: The handler.
        options: Its listener.
        manifest: The manifest; Django is set up where it says so.
        import_object: Imports what is named as ``package.module:name``.

    Raises:
        ConfigurationError: It can't have that.
    """
    name, keep = str(options.inbox), KEEP if options.inbox_keep is None else options.inbox_keep
    kind, _, alias = name.partition(":")
    if kind == "django":
        if manifest.django is False:
            raise ConfigurationError("Django is not set up; write django: mysite.settings, too")
        decorate = import_module("lightbus.django").inbox(using=alias or "default", keep=keep)
    else:
        sessions = import_object(name)
        decorate = import_module("lightbus.sqlalchemy.handling").inbox_in(sessions, keep, name)
    made: Handler = decorate(handler)
    inbox = inbox_of(made)
    if inbox is not None:
        inbox.check()
    return made
