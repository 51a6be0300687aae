"""The ports to a broker, in three kinds: calls, events and contracts."""
