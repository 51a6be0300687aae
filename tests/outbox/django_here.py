"""Django in the process of the tests, with the app of Lightbus and no database yet."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

#: The settings of a project whose one database is that of a campaign.
SETTINGS = """\
import pymysql

pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()
SECRET_KEY = "only for tests"
INSTALLED_APPS = ["lightbus.django"]
DATABASES = {{"default": {database!r}}}
USE_TZ = True
"""


@functools.cache
def django_here() -> None:
    """Set Django up."""
    import django
    import pymysql
    from django.conf import settings

    # PyMySQL says that it is an older mysqlclient than Django wants.
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
    settings.configure(
        SECRET_KEY="only for tests",
        INSTALLED_APPS=["lightbus.django"],
        DATABASES={},
        USE_TZ=True,
        LOGGING_CONFIG=None,
    )
    django.setup()


def migrated(alias: str, settings: Mapping[str, Any]) -> Any:
    """Make the tables in a database that Django then knows by this alias; returns the connection."""
    django_here()
    from django.core.management import call_command
    from django.db import connections

    connections.databases[alias] = dict(settings)
    connections.configure_settings(connections.databases)
    call_command("migrate", database=alias, verbosity=0)
    return connections[alias]
