"""Typed clients: contracts to a module of Python that editors and type checkers read."""
