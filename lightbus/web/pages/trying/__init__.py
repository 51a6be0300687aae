"""Trying an API: a form made from its contract, read back into arguments, and said as code."""
