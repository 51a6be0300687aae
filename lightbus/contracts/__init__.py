"""Contracts: made from type hints, known on this bus, validated against, and compared.

A contract is ``{"events": {name: {"parameters": schema}}, "rpcs": {name: {"parameters": schema, "response":
schema}}}``, with JSON Schema draft-07.
"""
