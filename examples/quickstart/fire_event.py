"""Fire an event from the service that owns its API: ``python -m examples.quickstart.fire_event``."""

import lightbus

from .bus import AuthApi as AuthApi  # importing it makes this process an owner

bus = lightbus.create()
bus.auth.user_registered.fire(username="admin", email="admin@example.com")
bus.client.close()
