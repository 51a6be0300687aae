"""One call by a Lightbus 1.x client: ``call.py API.PROCEDURE KWARGS_AS_JSON`` prints ``answer JSON``."""

from __future__ import annotations

import functools
import json
import os
import sys

import lightbus

bus = lightbus.create(config=json.loads(os.environ["PEER_CONFIG"]))
call = functools.reduce(getattr, sys.argv[1].split("."), bus)
try:
    result = call(**json.loads(sys.argv[2]))
except Exception as error:
    print("error", json.dumps({"type": type(error).__name__, "text": str(error)}))
else:
    print("answer", json.dumps(result))
