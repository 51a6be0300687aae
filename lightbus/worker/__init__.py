"""The work of a host: consumers of calls and events over one dispatch, and recurring work."""

from .worker import Worker

__all__ = ["Worker"]
