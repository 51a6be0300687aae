"""``bus.schema``: the contracts of a bus, to read, to validate with, to load and to save."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightbus.contracts.files import write_contracts
from lightbus.contracts.validator import Validator
from lightbus.declared.names import listed
from lightbus.exceptions import ProcedureNotFound, SchemaNotFound, SyncCallOnEventLoop
from lightbus.runtime.portal import run_blocking
from lightbus.values import dump_answer, dump_arguments

from .parts import Parts


class BusSchema:
    """The contracts that a process knows: its own, those given as files, and those on the bus.

    Contracts on the bus are read when they are first needed; on an event loop, await
    ``bus.parts.watch.load()`` before.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __contains__(self, api_name: object) -> bool:
        return api_name in self.api_names

    @property
    def api_names(self) -> list[str]:
        """The names of all APIs whose contract is known."""
        if not self._parts.watch.due:
            self._load("bus.schema.api_names")
        return sorted({*self._parts.registry.names(), *self._parts.contracts.api_names()})

    def get(self, api_name: str) -> dict[str, Any]:
        """Return the contract of an API.

        Args:
            api_name: The API.

        Returns:
            Its events and procedures, with a JSON Schema each; not to be changed.

        Raises:
            SchemaNotFound: It is known neither here nor on the bus.
            SyncCallOnEventLoop: It would have to be read from the bus, but an event loop runs in this thread.
        """
        parts = self._parts
        definition = parts.registry.find(api_name)
        if definition is not None and parts.owns(api_name):
            parts.contracts.set_local(definition)
        contract = parts.contracts.get(api_name)
        if contract is None:
            self._load(f"bus.schema.get({api_name!r})")
            contract = parts.contracts.get(api_name)
        if contract is None:
            raise SchemaNotFound(
                f"no contract of the API {api_name!r} is known here or on the bus; start the service that "
                "owns it, import the module that defines it, or load it with bus.schema.load_local(FILE)"
            )
        return contract

    def parameter_schema(self, api_name: str, name: str) -> dict[str, Any]:
        """Return the JSON Schema of the parameters of a procedure or event.

        Raises:
            SchemaNotFound: The API is not known.
            ProcedureNotFound: It has nothing of that name.
        """
        contract = self.get(api_name)
        entry: dict[str, Any] | None = contract["rpcs"].get(name) or contract["events"].get(name)
        if entry is None:
            known = listed(name, [*contract["rpcs"], *contract["events"]])
            raise ProcedureNotFound(f"the API {api_name!r} has no {name!r}; it has: {known}")
        schema: dict[str, Any] = entry["parameters"]
        return schema

    def response_schema(self, api_name: str, name: str) -> dict[str, Any]:
        """Return the JSON Schema of the result of a procedure.

        Raises:
            SchemaNotFound: The API is not known.
            ProcedureNotFound: It has no such procedure.
        """
        entry = self.get(api_name)["rpcs"].get(name)
        if entry is None:
            known = listed(name, self.get(api_name)["rpcs"])
            raise ProcedureNotFound(f"the API {api_name!r} has no procedure {name!r}; it has: {known}")
        schema: dict[str, Any] = entry["response"]
        return schema

    def validate_parameters(self, api_name: str, name: str, parameters: Mapping[str, Any]) -> None:
        """Check the arguments of a call or an event, as they would be sent.

        Raises:
            ValidationError: They don't fit the contract.
            SchemaNotFound: The API is not known.
            ProcedureNotFound: It has nothing of that name.
        """
        self.parameter_schema(api_name, name)
        contracts = self._parts.contracts
        validator, kind = contracts.rpc_parameters(api_name, name), "call"
        if validator is None:
            validator, kind = contracts.event(api_name, name), "event"
        _check(validator, dump_arguments(dict(parameters), kind, api_name, name))

    def validate_response(self, api_name: str, name: str, response: Any) -> None:
        """Check the result of a procedure, as it would be sent.

        Raises:
            ValidationError: It doesn't fit the contract.
            SchemaNotFound: The API is not known.
            ProcedureNotFound: It has no such procedure.
        """
        self.response_schema(api_name, name)
        _check(self._parts.contracts.rpc_response(api_name, name), dump_answer(response))

    def load_local(self, path: str | Path) -> list[str]:
        """Know the APIs in a file, or in all ``*.json`` files of a directory.

        Returns:
            Their names.

        Raises:
            SchemaNotFound: There is no such file.
            InvalidMessage: It does not hold contracts.
        """
        return self._parts.contracts.load_local(path)

    def save_local(self, path: str | Path) -> list[Path]:
        """Write the contracts of the APIs that this process owns.

        Args:
            path: A directory for a file per API, else one file for all.

        Returns:
            The files.
        """
        return write_contracts(self.own(), Path(path))

    def published(self, api_names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return the contracts that are on the bus now.

        Args:
            api_names: The APIs; all that are there if not given.

        Returns:
            Contracts by API; those that are not on the bus are left out.

        Raises:
            SchemaNotFound: None of them is on the bus.
            TransportUnavailable: The bus can't be reached.
        """
        self._load("bus.schema.published(...)")
        wanted = sorted(self._parts.contracts.on_bus()) if api_names is None else list(api_names)
        found = {name: self._parts.contracts.get_remote(name) for name in wanted}
        if not any(found.values()):
            of_none = "any API" if api_names is None else "this process, which owns no API"
            raise SchemaNotFound(
                f"the bus has no contract of {', '.join(wanted) or of_none}; "
                "owners publish theirs while they run, so start them, or compare with a file"
            )
        return {name: contract for name, contract in found.items() if contract is not None}

    def own(self) -> dict[str, dict[str, Any]]:
        """Return the contracts of the APIs that this process owns, but for those that describe the bus."""
        parts = self._parts
        return {name: self.get(name) for name in parts.registry.public() if parts.owns(name)}

    def _load(self, blocking: str) -> None:
        """Read the contracts on the bus; on an event loop, those that were read before must do."""
        parts, awaitable = self._parts, "bus.client.load_contracts()"
        try:
            run_blocking(parts.home, parts.watch.load, blocking=blocking, awaitable=awaitable)
        except SyncCallOnEventLoop:
            if not parts.watch.due:
                raise


def _check(validator: Validator | None, value: Any) -> None:
    if validator is not None:
        validator.validate(value)
