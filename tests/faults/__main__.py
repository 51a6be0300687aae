"""``make soak``: campaigns for as long as one likes, and planted bugs that each must be found.

CAMPAIGN_SPEED in the environment makes the publisher and the caller so many times as fast.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import get_args

from tests.support.servers import Kind, find_binary
from tests.wire.peer_1x import find_peer

from .campaign import run
from .frameworks import SERVED, serve
from .links import sweep
from .mixed import mix
from .overload import overload
from .plants import SCENARIOS, find, found_by
from .report import Result, table
from .rolling import roll
from .settings import KINDS
from .spread import run_spread

CAMPAIGNS = (
    "faults",
    "sentinel",
    "replicas",
    "cluster",
    "links",
    "mixed",
    "rolling",
    "frameworks",
    "overload",
)


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--campaigns", default=",".join(CAMPAIGNS), help="which; all unless it says otherwise"
    )
    parser.add_argument("--seeds", default="3", help="how many, or the seeds themselves: 1,2,3")
    parser.add_argument(
        "--seconds", type=float, default=60, help="for each of faults, sentinel, replicas, cluster, mixed"
    )
    parser.add_argument(
        "--servers", default=",".join(get_args(Kind)), help="for faults, sentinel, replicas, cluster, links"
    )
    parser.add_argument("--faults", default="", help="only these, such as kill,freeze")
    parser.add_argument(
        "--waiting", default="", help="how processes of cluster wait; by turns unless it says"
    )
    parser.add_argument("--kinds", default=KINDS, help="of a hundred events or calls, how many of which kind")
    parser.add_argument(
        "--acl", action="store_true", help="each process of faults and cluster as a user of lightbus acl"
    )
    parser.add_argument("--restarts", type=int, default=20, help="how many of rolling")
    parser.add_argument("--rate", type=float, default=200, help="calls a second of rolling, and events")
    parser.add_argument("--overload", type=float, default=600, help="seconds of overload")
    parser.add_argument("--plants", default="", help="all, or names of planted bugs, in place of campaigns")
    options = parser.parse_args()
    if options.plants:
        return _planted(list(SCENARIOS) if options.plants == "all" else options.plants.split(","))
    results: list[Result] = []
    for name, begin in _campaigns(options):
        print(f"{name} ...", flush=True)
        result = begin()
        results.append(result)
        print("  " + result.text().replace("\n", "\n  "), flush=True)
        # At once, and again with all others: a campaign that can't go on takes nothing along.
        print(table([result]), flush=True)
    print(table(results), flush=True)
    return 0 if all(result.verdict.is_good for result in results) else 1


def _campaigns(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Result]]]:
    wanted = options.campaigns.split(",")
    seeds = _seeds(options.seeds)
    faults = tuple(filter(None, options.faults.split(",")))
    for name in ("faults", "sentinel", "replicas"):
        for kind in options.servers.split(",") if name in wanted else ():
            if find_binary(kind) is None:
                print(f"{kind} is not installed, and left out", flush=True)
                continue
            is_limited = options.acl and name == "faults"
            if is_limited and kind == "redis62":
                print("redis62 has no rules for some keys alone, and is left out", flush=True)
                continue
            for seed in seeds:
                begin = partial(run, kind, seed, options.seconds, faults, kinds=options.kinds)
                how = {"replicated": name != "faults", "promised": name == "replicas", "acl": is_limited}
                yield f"{name}, {kind}, seed {seed}", partial(begin, **how)
    for kind in options.servers.split(",") if "cluster" in wanted else ():
        # Redis 6.2 has no second port of its own choice, which several clusters on one machine need.
        if find_binary(kind) is None or kind == "redis62":
            continue
        for seed in seeds:
            begin = partial(run_spread, kind, seed, options.seconds, faults, kinds=options.kinds)
            begin = partial(begin, waiting=options.waiting, acl=options.acl)
            yield f"cluster, {kind}, seed {seed}", begin
            yield f"cluster without a promise, {kind}, seed {seed}", partial(begin, replicas=0)
    for kind in options.servers.split(",") if "links" in wanted else ():
        if find_binary(kind) is not None:
            yield f"links, {kind}", partial(sweep, kind, seeds[0])
    if "mixed" in wanted and (find_peer() is None or find_binary("redis7") is None):
        print("Lightbus 1.x, or the Redis that it knows, is not installed, and left out", flush=True)
    elif "mixed" in wanted:
        for seed in seeds:
            yield f"mixed, seed {seed}", partial(mix, seed, options.seconds)
    if "rolling" in wanted:
        yield "rolling", partial(roll, "valkey", seeds[0], options.restarts, options.rate)
    for served in SERVED if "frameworks" in wanted else ():
        for seed in seeds:
            yield f"{served}, seed {seed}", partial(serve, served, seed)
    if "overload" in wanted:
        yield "overload", partial(overload, "valkey", seeds[0], options.overload)


def _seeds(text: str) -> list[int]:
    if "," in text:
        return [int(seed) for seed in text.split(",") if seed]
    return [random.randrange(1_000_000) for _ in range(int(text))]


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
