"""A shop: one service that owns two APIs, listens to its own events and to another service's."""
