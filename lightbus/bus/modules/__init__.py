"""Bus modules: the host that imports them, and what they offer."""
