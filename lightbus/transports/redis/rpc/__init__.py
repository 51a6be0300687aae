"""Calls over Redis."""
