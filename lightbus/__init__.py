"""A message bus for Python services over Redis, hosted from one YAML file."""

from .api import Api, Event, Parameter
from .client import BusClient
from .creation import create, get_bus
from .exceptions import LightbusException
from .messages import EventMessage, ResultMessage, RpcMessage
from .path import BusPath
from .plugins import LightbusPlugin
from .policy import Backoff, DeliveryPolicy, OnError

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
    "__version__",
    "create",
    "get_bus",
]
