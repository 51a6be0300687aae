"""The tables as models, from which Django makes its migration."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from lightbus.messages import MAX_ID
from lightbus.outbox.rows import INBOX, LOCK, MAX_ERROR, MAX_EVENT, MAX_NAME, OUTBOX, WAITING


class OutboxEvent(models.Model):  # type: ignore[misc] # Django has no types
    """An event that waits to be fired."""

    seq = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=MAX_ID)
    api = models.CharField(max_length=MAX_NAME)
    event = models.CharField(max_length=MAX_NAME)
    version = models.IntegerField()
    # Not a JSONField: databases change numbers, and the order of names, in a column of JSON.
    kwargs = models.TextField()
    key = models.CharField(max_length=MAX_ID)
    bucket = models.SmallIntegerField()
    traceparent = models.CharField(max_length=MAX_ID)
    created_at = models.DateTimeField(default=timezone.now)
    state = models.SmallIntegerField(default=WAITING)
    error = models.CharField(max_length=MAX_ERROR, default="")
    attempts = models.IntegerField(default=0)

    class Meta:
        """The table, and the index by which a relay reads."""

        db_table = OUTBOX
        indexes = [models.Index(fields=["state", "seq", "bucket"], name="lightbus_outbox_waiting")]

    def __str__(self) -> str:
        return f"{self.api}.{self.event} ({self.event_id})"


class OutboxLock(models.Model):  # type: ignore[misc] # Django has no types
    """A bucket of keys: whoever has locked its row sends its events."""

    part = models.SmallIntegerField(primary_key=True)

    class Meta:
        """The table."""

        db_table = LOCK

    def __str__(self) -> str:
        return f"bucket {self.part}"


class InboxEvent(models.Model):  # type: ignore[misc] # Django has no types
    """An event whose effects are in this database."""

    group = models.CharField(max_length=MAX_ID)
    # Two events of different names may have one id, as "order-7" of placed and of paid.
    event = models.CharField(max_length=MAX_EVENT)
    event_id = models.CharField(max_length=MAX_ID)
    handled_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """The table: an event has its effects once for each group."""

        db_table = INBOX
        constraints = [
            models.UniqueConstraint(fields=["group", "event", "event_id"], name="lightbus_inbox_once"),
        ]
        # Groups keep their notes for times of their own.
        indexes = [models.Index(fields=["group", "handled_at"], name="lightbus_inbox_age")]

    def __str__(self) -> str:
        return f"{self.event} ({self.event_id}) in {self.group}"
