"""The tables of the outbox and the inbox."""

from __future__ import annotations

from typing import Any

import django.utils.timezone
from django.db import migrations, models

#: Columns that are compared: MySQL would take "a" for "A".
_COMPARED = {"OutboxEvent": ("key",), "InboxEvent": ("group", "event", "event_id")}


def compare_letters(apps: Any, schema_editor: Any) -> None:
    """Let MySQL and MariaDB tell small letters from capital ones."""
    if schema_editor.connection.vendor != "mysql":
        return
    for name, columns in _COMPARED.items():
        table = apps.get_model("lightbus", name)._meta
        for column in columns:
            field = table.get_field(column)
            quote, kind = schema_editor.quote_name, field.db_type(schema_editor.connection)
            schema_editor.execute(
                f"ALTER TABLE {quote(table.db_table)} MODIFY {quote(column)} "
                f"{kind} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
            )


class Migration(migrations.Migration):  # type: ignore[misc] # Django has no types
    """Makes the tables."""

    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.CreateModel(
            name="OutboxLock",
            fields=[("part", models.SmallIntegerField(primary_key=True, serialize=False))],
            options={"db_table": "lightbus_outbox_lock"},
        ),
        migrations.CreateModel(
            name="InboxEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("group", models.CharField(max_length=200)),
                ("event", models.CharField(max_length=255)),
                ("event_id", models.CharField(max_length=200)),
                ("handled_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "db_table": "lightbus_inbox",
                "indexes": [models.Index(fields=["group", "handled_at"], name="lightbus_inbox_age")],
                "constraints": [
                    models.UniqueConstraint(fields=("group", "event", "event_id"), name="lightbus_inbox_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.CharField(max_length=200)),
                ("api", models.CharField(max_length=200)),
                ("event", models.CharField(max_length=200)),
                ("version", models.IntegerField()),
                ("kwargs", models.TextField()),
                ("key", models.CharField(max_length=200)),
                ("bucket", models.SmallIntegerField()),
                ("traceparent", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("state", models.SmallIntegerField(default=0)),
                ("error", models.CharField(default="", max_length=2000)),
                ("attempts", models.IntegerField(default=0)),
            ],
            options={
                "db_table": "lightbus_outbox",
                "indexes": [models.Index(fields=["state", "seq", "bucket"], name="lightbus_outbox_waiting")],
            },
        ),
        migrations.RunPython(compare_letters, migrations.RunPython.noop, atomic=False),
    ]
