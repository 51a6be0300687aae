"""Writes the reference and the JSON Schema: ``python -m lightbus.manifest config/reference``."""

from __future__ import annotations

import sys
from pathlib import Path

from .printing.jsonschema import json_schema
from .printing.reference import reference

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "lightbus.yaml").write_text(reference())
    (folder / "lightbus.schema.json").write_text(json_schema())
