"""What typed clients cost: to write a module, and to import it: ``python -m benchmarks.typed_clients``.

The APIs are copies of the largest one of the tests. To import a module is measured in processes of their own,
as the CPU time beyond that of importing Lightbus.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lightbus.contracts.clients.module import module_of
from tests.contracts.clients.apis import contracts

_IMPORT = """
import lightbus, time
start = time.process_time()
import bus_types
print(time.process_time() - start)
"""


def seconds_to_write(apis: int) -> float:
    """Return the CPU seconds that it takes to write the module of so many APIs."""
    largest = contracts()["auth"]
    copies = {f"api{number}": largest for number in range(apis)}
    start = time.process_time()
    module_of(copies)
    return time.process_time() - start


def seconds_to_import(rounds: int) -> float:
    """Return the least CPU seconds that importing the module of the test's APIs took."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bus_types.py").write_text(module_of(contracts()))
        command = [sys.executable, "-c", _IMPORT]
        # The first round writes its bytecode.
        runs = [
            subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            for _ in range(rounds + 1)
        ]
    return min(float(done.stdout) for done in runs[1:])


def main(apis: int = 1000) -> None:
    """Print both."""
    print(f"to write {apis:,} APIs: {seconds_to_write(apis):.2f} s")
    print(f"to import {len(contracts())} APIs: {seconds_to_import(5) * 1000:.1f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
