"""Schedules of one process: their times, their runs, and who in the service runs them."""

from .schedules import Schedules as Schedules
