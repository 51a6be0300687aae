"""Nodes to records."""
