"""The protocols that those in a module of ``lightbus types`` are derived from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, Self

from lightbus.bus.client import BusClient
from lightbus.bus.path import BusPath
from lightbus.bus.schema import BusSchema


class ProcedureView(Protocol):
    """What the path of every procedure has besides its calls."""

    @property
    def parameter_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters."""

    @property
    def response_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result."""

    def validate_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check arguments."""

    def validate_response(self, response: Any) -> None:
        """Check a result."""


class EventView(Protocol):
    """What the path of every event has besides firing and listening."""

    @property
    def parameter_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters."""

    def validate_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Check arguments."""


class ApiView(Protocol):
    """What the path of every API has besides its procedures and events."""

    @property
    def schema(self) -> Any:
        """The contract of the API."""

    def __getitem__(self, name: Literal["*"], /) -> BusPath:
        """Return the path of all of its events, to listen to."""


class BusView(Protocol):
    """What every bus has besides its APIs."""

    @property
    def client(self) -> BusClient:
        """The bus as async code sees it."""

    @property
    def schema(self) -> BusSchema:
        """The contracts of the bus."""

    def __enter__(self) -> Self:
        """Return the bus."""

    def __exit__(self, *_: object) -> None:
        """Close the bus."""

    async def __aenter__(self) -> Self:
        """Return the bus."""

    async def __aexit__(self, *_: object) -> None:
        """Close the bus."""
