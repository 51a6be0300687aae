"""Checks values against a contract as Lightbus 1.x does; reads both as JSON, and prints what it refuses."""

from __future__ import annotations

import importlib
import json
import sys

module = importlib.import_module("lightbus.schema.schema")
given = json.load(sys.stdin)
schema = module.Schema(schema_transport=None)
schema.local_schemas["notes"] = given["contract"]
schema._remote_schemas = {}
refused = []
for part in ("validate_parameters", "validate_response"):
    for name, values in given[part]:
        try:
            getattr(schema, part)("notes", name, values)
        except module.ValidationError:
            refused.append([part, name])
print(json.dumps({"refused": refused, "events": schema.events, "rpcs": schema.rpcs}))
