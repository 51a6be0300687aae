"""The bus module of a campaign's Lightbus 1.x worker, and what its clients share with it.

PEER_CONFIG is its configuration as JSON. 1.x does not understand annotations that are strings.
"""

import json
import os
from typing import Any

from ledger import own_ledger  # type: ignore[import-not-found]

import lightbus
from lightbus import Api, Event, Parameter

bus = lightbus.create(config=json.loads(os.environ["PEER_CONFIG"]))
ledger = own_ledger("peer")


class OldApi(Api):
    """What 1.x owns."""

    happened = Event(parameters=(Parameter("n", int),))

    class Meta:
        name = "old"

    def run(self, n: int) -> int:
        ledger.write("ran", n)
        return n


def theirs(event_message: Any, n: int) -> None:
    """What 1.x listens with."""
    ledger.write("started", "theirs", n, event_message.native_id)
    ledger.write("done", "theirs", n, event_message.native_id)


bus.client.register_api(OldApi())
if os.environ.get("PEER_LISTENS"):
    bus.client.listen_for_events([("old", "happened"), ("new", "happened")], theirs, listener_name="theirs")
