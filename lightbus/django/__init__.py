"""Lightbus in Django's transactions: add ``lightbus.django`` to ``INSTALLED_APPS``, and run ``migrate``."""

from .handling import inbox
from .writing import outbox

__all__ = ["inbox", "outbox"]
