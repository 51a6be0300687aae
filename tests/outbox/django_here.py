"""Django in the process of the tests, with the app of Lightbus and no database yet."""

from __future__ import annotations

import functools


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
