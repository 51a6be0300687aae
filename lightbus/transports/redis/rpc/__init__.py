"""Calls over Redis."""

from lightbus.declared.old_names.lookup import know_old_names_of

know_old_names_of(__name__)
