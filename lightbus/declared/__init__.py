"""What a service is: plain records of its APIs, listeners, schedules, policies and settings."""
