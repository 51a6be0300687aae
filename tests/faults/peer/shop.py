"""The bus module of a service that goes back to 1.x and comes again: it runs under both versions.

Under 1.x, PEER_CONFIG is its configuration as JSON; ours has a manifest, which names the handler.
"""

import json
import os
import random
from typing import Any

import lightbus

ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)


def greet(event_message: Any, n: int) -> None:
    """Fail now and then, else note the event."""
    share = random.random()
    if "PEER_CONFIG" in os.environ:
        if share < float(os.environ["ENDS"]):
            raise ValueError("no")
    elif share < float(os.environ["FAILS"]):
        raise KeyError("never") if share < 0.05 else ValueError("not now")
    os.write(ledger, f"{n}\n".encode())


if "PEER_CONFIG" in os.environ:
    bus = lightbus.create(config=json.loads(os.environ["PEER_CONFIG"]))
    bus.client.listen_for_event("shop", "sold", greet, listener_name="greet")
