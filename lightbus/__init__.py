"""A message bus for Python services over Redis, hosted from one YAML file."""

from .bus.client import BusClient
from .bus.creation import create, get_bus
from .bus.path import BusPath
from .bus.schema import BusSchema as _BusSchema
from .declared.api import Api
from .declared.definition import Event, Parameter
from .declared.old_names.lookup import know_old_names as _know_old_names
from .declared.policy import Backoff, DeliveryPolicy, OnError
from .exceptions import LightbusException
from .messages import EventMessage, ResultMessage, RpcMessage
from .plugins import LightbusPlugin
from .values.sensitive import Sensitive

__version__ = "2.0.0.dev0"

__all__ = [
    "Api",
    "Backoff",
    "BusClient",
    "BusPath",
    "DeliveryPolicy",
    "Event",
    "EventMessage",
    "LightbusException",
    "LightbusPlugin",
    "OnError",
    "Parameter",
    "ResultMessage",
    "RpcMessage",
    "Sensitive",
    "__version__",
    "create",
    "get_bus",
]

_know_old_names(Api, BusClient, BusPath, _BusSchema)
