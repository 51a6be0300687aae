"""Prints the contract that Lightbus 1.x makes of the module `hints`, as JSON."""

from __future__ import annotations

import importlib
import json

make = importlib.import_module("lightbus.schema.schema").api_to_schema
print(json.dumps(make(importlib.import_module("hints").HintsApi())))
