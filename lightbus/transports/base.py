"""All that an author of a transport needs: the ports and what passes through them."""

from lightbus.declared.old_names.lookup import know_old_names_of
from lightbus.declared.settings import Identity
from lightbus.messages import MAX_BYTES
from lightbus.transports.coordination import Coordination
from lightbus.transports.events import (
    DeadLetter,
    Delivery,
    EventConsumer,
    EventTransport,
    GroupStatus,
    Outgoing,
    Subscription,
)
from lightbus.transports.groups import Move, Seek, StillRead
from lightbus.transports.port import Consumer, Finding, Kind, Transport
from lightbus.transports.rpc import QueueStatus, RpcConsumer, RpcTransport
from lightbus.transports.schema import SchemaTransport

__all__ = [
    "MAX_BYTES",
    "Consumer",
    "Coordination",
    "DeadLetter",
    "Delivery",
    "EventConsumer",
    "EventTransport",
    "Finding",
    "GroupStatus",
    "Identity",
    "Kind",
    "Move",
    "Outgoing",
    "QueueStatus",
    "RpcConsumer",
    "RpcTransport",
    "SchemaTransport",
    "Seek",
    "StillRead",
    "Subscription",
    "Transport",
]

know_old_names_of(__name__)
