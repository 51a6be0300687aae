"""Contracts over Redis, and with them what processes tell each other: owners, schedules, cards, pauses."""

from .transport import RedisSchemaTransport as RedisSchemaTransport
