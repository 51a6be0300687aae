"""The app, as ``INSTALLED_APPS`` takes it."""

from __future__ import annotations

from django.apps import AppConfig


class LightbusConfig(AppConfig):  # type: ignore[misc] # Django has no types
    """Has the tables of the outbox and the inbox."""

    name = "lightbus.django"
    label = "lightbus"
    verbose_name = "Lightbus"
    default_auto_field = "django.db.models.BigAutoField"
