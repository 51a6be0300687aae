"""A service as plain records: its APIs, listeners, schedules, policies and settings."""
