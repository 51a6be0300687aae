"""A bus as code sees it: call, fire, listen, declare."""
