"""A manifest to a running process."""
