"""The contracts known in this process: its own, those given as files, and those on the bus."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from lightbus.declared.definition import Definition
from lightbus.exceptions import InvalidMessage

from .contract import contract_of
from .files import check_contract, read_contracts
from .validator import Validator, compile

_Key = tuple[str, str, str]


class Contracts:
    """The contracts known in this process, by API.

    If there are several for one API, the process's own comes first, then one from a file, then the one on
    the bus. A validator is compiled when it is first wanted.
    """

    def __init__(self) -> None:
        self._definitions: dict[str, Definition] = {}
        self._local: dict[str, dict[str, Any]] = {}
        self._files: dict[str, dict[str, Any]] = {}
        self._remote: dict[str, dict[str, Any]] = {}
        self._validators: dict[_Key, Validator] = {}

    def set_local(self, definition: Definition) -> dict[str, Any]:
        """Know an API that this process defines.

        Returns:
            Its contract, to publish.

        Raises:
            MisconfiguredApiOptions: A type hint can't be read, or stands for what can't travel over the bus.
        """
        if self._definitions.get(definition.name) is not definition:
            self._put(self._local, definition.name, contract_of(definition))
            self._definitions[definition.name] = definition
        return self._local[definition.name]

    def set_remote(self, api_name: str, contract: dict[str, Any]) -> bool:
        """Know an API as its owner publishes it.

        Args:
            api_name: The API's name.
            contract: The published contract, which may be anything.

        Returns:
            Whether that is news.

        Raises:
            InvalidMessage: It is not a contract, or not a safe one; the one before stays.
        """
        if self._remote.get(api_name) == contract:
            return False
        check_contract(api_name, contract)
        self._put(self._remote, api_name, contract)
        return True

    def remove_remote(self, api_name: str) -> None:
        """Forget the contract that the bus had of an API."""
        if self._remote.pop(api_name, None) is not None:
            self._forget_validators(api_name)

    def load_local(self, path: str | Path) -> list[str]:
        """Know the APIs that :func:`read_contracts` finds in a file or a directory; returns their names."""
        loaded = read_contracts(Path(path))
        for api_name, contract in loaded.items():
            self._put(self._files, api_name, contract)
        return list(loaded)

    def event(self, api_name: str, event_name: str) -> Validator | None:
        """Return the validator of an event's parameters, or None if no contract has it."""
        key: _Key = ("event", api_name, event_name)
        return self._validators.get(key) or self._compile(key)

    def rpc_parameters(self, api_name: str, procedure_name: str) -> Validator | None:
        """Return the validator of a procedure's parameters, or None if no contract has it."""
        key: _Key = ("call", api_name, procedure_name)
        return self._validators.get(key) or self._compile(key)

    def rpc_response(self, api_name: str, procedure_name: str) -> Validator | None:
        """Return the validator of a procedure's result, or None if no contract has it."""
        key: _Key = ("result", api_name, procedure_name)
        return self._validators.get(key) or self._compile(key)

    def api_names(self) -> list[str]:
        """Return the names of all APIs with a contract, sorted."""
        return sorted({*self._local, *self._files, *self._remote})

    def get(self, api_name: str) -> dict[str, Any] | None:
        """Return an API's contract, or None; not to be changed."""
        for contracts in (self._local, self._files, self._remote):
            if api_name in contracts:
                return contracts[api_name]
        return None

    def on_bus(self) -> dict[str, dict[str, Any]]:
        """Return what the bus says of each API; not to be changed."""
        return self._remote

    def of_others(self) -> dict[str, dict[str, Any]]:
        """Return the contracts that files or the bus have; those of files are believed first."""
        return {**self._remote, **self._files}

    def get_remote(self, api_name: str) -> dict[str, Any] | None:
        """Return what the bus says of an API, or None; not to be changed."""
        return self._remote.get(api_name)

    def _put(self, contracts: dict[str, dict[str, Any]], api_name: str, contract: dict[str, Any]) -> None:
        contracts[api_name] = contract
        self._forget_validators(api_name)

    def _forget_validators(self, api_name: str) -> None:
        self._validators = {key: v for key, v in self._validators.items() if key[1] != api_name}

    def _compile(self, key: _Key) -> Validator | None:
        kind, api_name, name = key
        contract = self.get(api_name) or {}
        entry = contract.get("events" if kind == "event" else "rpcs", {}).get(name)
        if entry is None:
            return None
        what = f"the {kind}{' of' if kind == 'result' else ''} {api_name}.{name}"
        try:
            validator = compile(entry["response" if kind == "result" else "parameters"], what)
        except InvalidMessage as e:
            validator = Validator(partial(_refuse, str(e)), what)
        self._validators[key] = validator
        return validator


def _refuse(reason: str, value: Any) -> NoReturn:
    """Stand for a schema that can't be compiled."""
    raise InvalidMessage(reason)
