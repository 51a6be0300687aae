"""What goes over the bus: calls by their procedures, events by their listeners, and numbers of both."""
