"""Questions about the whole bus, and what may be done to it."""
