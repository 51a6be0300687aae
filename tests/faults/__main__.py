"""``make soak``: campaigns for as long as one likes, and planted bugs that each must be found.

CAMPAIGN_SPEED in the environment makes the publisher and the caller so many times as fast.
"""

from __future__ import annotations

import argparse
import random
import sys
from typing import get_args

from tests.servers import Kind, find_binary

from .campaign import Result, run, table
from .plants import SCENARIOS, find, found_by
from .settings import KINDS


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", default="3", help="how many, or the seeds themselves: 1,2,3")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--servers", default=",".join(get_args(Kind)))
    parser.add_argument("--faults", default="", help="only these, such as kill,freeze")
    parser.add_argument("--kinds", default=KINDS, help="of a hundred events or calls, how many of which kind")
    parser.add_argument("--plants", default="", help="all, or names of planted bugs, in place of campaigns")
    options = parser.parse_args()
    if options.plants:
        return _planted(list(SCENARIOS) if options.plants == "all" else options.plants.split(","))
    results: list[Result] = []
    for kind in options.servers.split(","):
        if find_binary(kind) is None:
            print(f"{kind} is not installed, and left out", flush=True)
            continue
        for seed in _seeds(options.seeds):
            print(f"{kind}, seed {seed}: {options.seconds:g} s ...", flush=True)
            faults = tuple(filter(None, options.faults.split(",")))
            results.append(run(kind, seed, options.seconds, faults, kinds=options.kinds))
            _explain(results[-1])
            print(table(results), flush=True)
    return 0 if all(result.verdict.is_good for result in results) else 1


def _seeds(text: str) -> list[int]:
    if "," in text:
        return [int(seed) for seed in text.split(",") if seed]
    return [random.randrange(1_000_000) for _ in range(int(text))]


def _explain(result: Result) -> None:
    print(f"  faults: {result.faults}\n  outcomes of calls: {dict(result.verdict.outcomes)}")
    for name, examples in result.verdict.wrong.items():
        if examples:
            print(f"  {name}: {len(examples)}, such as {examples[:5]}")
    for output in result.outputs:
        print("  ----\n" + output)


def _planted(names: list[str]) -> int:
    missed = []
    for name in names:
        result = find(name)
        found = found_by(result)
        print(f"{name:20} {'found by: ' + ', '.join(found) if found else 'NOT FOUND'}", flush=True)
        if not found:
            missed.append(name)
            print(table([result]), result.faults)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
