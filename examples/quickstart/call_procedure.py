"""Call a procedure from any process: ``python -m examples.quickstart.call_procedure``."""

import lightbus

bus = lightbus.create()
valid = bus.auth.check_password(username="admin", password="secret")
print("Password valid!" if valid else "Oops, bad username or password")
bus.client.close()
