"""Generated modules, imported into the test's own process."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from lightbus.contracts.clients.module import module_of

_numbers = itertools.count()


@contextlib.contextmanager
def made_of(contracts: Mapping[str, Any], *arguments: Any) -> Iterator[ModuleType]:
    """Write the module of these contracts and import it for as long as it is used."""
    module = ModuleType(f"bus_types_{next(_numbers)}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(module_of(contracts, *arguments), module.__name__, "exec"), module.__dict__)
        yield module
    finally:
        del sys.modules[module.__name__]
