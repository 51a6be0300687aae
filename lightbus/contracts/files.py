"""Contracts as files, and whether something is a contract at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lightbus.exceptions import InvalidMessage, SchemaNotFound

from .safety import check_form, check_schema

_PARTS: Final = {"events": ("parameters",), "rpcs": ("parameters", "response")}
_MAX_FILE: Final = 16 * 1024 * 1024


def check_contract(api_name: str, contract: Any) -> None:
    """Check that something is a contract.

    Raises:
        InvalidMessage: It isn't one, or its schemas are not safe to use.
    """
    if not isinstance(contract, dict):
        raise InvalidMessage(f"the contract of {api_name} is not an object")
    for part, wanted in _PARTS.items():
        entries = contract.get(part)
        if not isinstance(entries, dict):
            raise InvalidMessage(f"the contract of {api_name} has no {part!r}")
        for name, entry in entries.items():
            place = f"the contract of {api_name}, {part}.{name[:80]}"
            if not isinstance(entry, dict) or not all(w in entry for w in wanted):
                raise InvalidMessage(f"{place}: it needs {' and '.join(wanted)}")
            try:
                for schema in wanted:
                    check_schema(entry[schema])
                    check_form(entry[schema])
            except InvalidMessage as e:
                raise InvalidMessage(f"{place}: {e}") from None


def read_contracts(path: Path) -> dict[str, dict[str, Any]]:
    """Read contracts as ``lightbus dumpschema`` writes them.

    Args:
        path: A file with one contract, named ``{api}.json``, or with an object of contracts by API; or a
            directory of such files.

    Returns:
        Contracts by API.

    Raises:
        SchemaNotFound: There is no such file.
        InvalidMessage: The file does not hold contracts.
    """
    if path.is_dir():
        # Hidden files belong to editors and to other systems; Python's glob takes them, a shell's does not.
        files = sorted(file for file in path.glob("*.json") if not file.name.startswith("."))
        return {name: c for file in files for name, c in read_contracts(file).items()}
    try:
        if path.stat().st_size > _MAX_FILE:
            raise InvalidMessage(f"{path} is too large to hold contracts")
        content = json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise SchemaNotFound(f"can't read contracts from {path}: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise InvalidMessage(f"{path} is not a JSON file: {str(e)[:200]}") from e
    if not isinstance(content, dict):
        raise InvalidMessage(f"{path} holds no contract, but a JSON {type(content).__name__}")
    contracts = {path.stem: content} if _is_one(content) else content
    for api_name, contract in contracts.items():
        try:
            check_contract(api_name, contract)
        except InvalidMessage as e:
            raise InvalidMessage(f"{path}: {e}") from None
    return contracts


def write_contracts(contracts: Mapping[str, Any], path: Path) -> list[Path]:
    """Write contracts so that :func:`read_contracts` can read them.

    Args:
        contracts: Contracts by API.
        path: A file for all of them, or a directory, which is made, for a file of each API. A path that does
            not exist and has no suffix is a directory. Each file has contracts by API, as 1.x reads them.

    Returns:
        The files.
    """
    if not path.is_dir() and (path.exists() or path.suffix):
        files = {path: contracts}
    else:
        path.mkdir(parents=True, exist_ok=True)
        files = {path / f"{name}.json": {name: contract} for name, contract in contracts.items()}
    for file, content in files.items():
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return list(files)


def _is_one(content: dict[str, Any]) -> bool:
    """Tell one contract from an object of contracts by API."""
    if not content or not content.keys() <= {*_PARTS, "description"}:
        return False
    return not all(isinstance(v, dict) and v.keys() >= _PARTS.keys() for v in content.values())
