"""A Lightbus 1.x client that fires its event and calls our procedure until SIGTERM: ``client.py PAUSE``."""

import importlib
import itertools
import os
import signal
import sys
import time
from typing import Any

worker: Any = importlib.import_module("worker")
bus, ledger = worker.bus, worker.ledger
stopping: list[int] = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
for n in itertools.count(os.getpid() * 1_000_000):
    if stopping:
        break
    ledger.write("fired", n, "good")
    bus.old.happened.fire(n=n)
    ledger.write("confirmed", n)
    ledger.write("called", n)
    try:
        result = bus.new.run(n=n, seconds=(0.0, 0.01, 0.1)[n % 3])
        ledger.write("outcome", n, "result" if result == n else "wrong", "-")
    except Exception as error:
        ledger.write("outcome", n, type(error).__name__, "-")
    time.sleep(float(sys.argv[1]))
bus.client.close()
