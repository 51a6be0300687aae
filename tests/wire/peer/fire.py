"""One event of a 1.x client that owns the API: ``fire.py EVENT KWARGS_AS_JSON`` prints ``fired JSON``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

os.environ["PEER_ROLES"] = "owner"

bus: Any = importlib.import_module("bus").bus

message = getattr(bus.auth, sys.argv[1]).fire(**json.loads(sys.argv[2]))
print("fired", json.dumps({"id": message.id}))
