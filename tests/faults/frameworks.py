"""The projects of the frameworks' pages, served and under load, while Redis stops and is killed."""

from __future__ import annotations

import contextlib
import random
import re
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tests.docs.sites import Site
from tests.support.eventually import eventually
from tests.support.servers import Kind, Server

from .cluster import pause
from .oracle import Verdict
from .pulse import Pulse
from .report import Result

#: Seconds after Redis is back from which on nothing may fail.
GRACE = 0.5
#: Seconds for which Redis does not answer.
STOPPED = 3.0
#: How many clients there are, the seconds between two requests of one, and before it repeats one.
CLIENTS, PAUSE, AGAIN = 200, 3.0, 0.4
#: How many requests must be on their way while Redis is away, or nothing is proved.
MET = 100
#: Seconds after Redis is back in which the delay of the machine is looked at.
_WATCHED = 3.0
#: Seconds within which every event is handled once nothing goes wrong any more, or a client gives up.
_DRAIN = 30.0
#: What ends a traceback in a log: its error.
_RAISED = re.compile(r"^Traceback \(most.*\n(?:[ \t].*\n|\n)+(\S.*)$", re.MULTILINE)
_HANDLED = re.compile(r"^(?:Order (?=\S+: thank you)|Welcome, )([\w-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Served:
    """One framework under one server.

    Args:
        page: The page that the project is from.
        server: The command that serves it.
    """

    page: str
    server: str

    @property
    def is_django(self) -> bool:
        return "django" in self.page

    def fire(self, site: Site, name: str) -> int:
        """Make the request that fires an event; returns the status."""
        if self.is_django:
            return site.post("/orders", number=name, customer="Ann")[0]
        return site.post("/register", username=name)[0]

    def call(self, site: Site, name: str) -> int:
        """Make the request that calls a procedure; returns the status."""
        if self.is_django:
            return site.get(f"/orders/{name}")[0]
        return site.post("/login", username="admin", password="secret")[0]

    def handled(self, output: str) -> list[str]:
        """The names in the events that the host has handled, by what it has printed."""
        return _HANDLED.findall(output)


_GUNICORN = "gunicorn --workers 2 --bind 127.0.0.1:{{port}} {}"
_UVICORN = "uvicorn --workers 2 --port {{port}} --log-level warning {}"
SERVED = {
    "flask, gunicorn": Served("how-to/flask.md", _GUNICORN.format("--threads 8 app:app")),
    "django, gunicorn": Served("how-to/django.md", _GUNICORN.format("--threads 8 mysite.wsgi")),
    "django, uvicorn": Served("how-to/django.md", _UVICORN.format("mysite.asgi:application")),
    "fastapi, gunicorn": Served("how-to/fastapi.md", _GUNICORN.format("--worker-class asgi app:app")),
    "fastapi, uvicorn": Served("how-to/fastapi.md", _UVICORN.format("app:app")),
}


@dataclass(frozen=True)
class Try:
    """One request: what it was to do, for what name, when it began and ended, and how."""

    verb: str
    name: str
    began: float
    ended: float
    status: int

    @property
    def is_good(self) -> bool:
        return self.status in (200, 201)


@dataclass
class Load:
    """Clients that make requests until they are stopped, and repeat what failed; use it as a context.

    Args:
        served: What they ask.
        site: Where it is.
        clients: How many they are.
        between: Seconds from one request of a client to the next, on average.
        tries: All requests that have ended.
        begun: How many have begun.
    """

    served: Served
    site: Site
    clients: int
    between: float
    tries: list[Try] = field(default_factory=list)
    begun: int = 0

    def __post_init__(self) -> None:
        self._stopping, self._counting = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(self.clients)
        ]

    def _run(self, number: int) -> None:
        chance, count = random.Random(number), 0
        # They do not begin all at once.
        self._stopping.wait(self.between * chance.random())
        while not self._stopping.is_set():
            count += 1
            name = f"n{number}-{count}"
            for verb in ("fire", "call"):
                give_up = time.monotonic() + _DRAIN
                while not self._try(verb, name).is_good and time.monotonic() < give_up:
                    pause(AGAIN * chance.uniform(0.5, 1.5))
                self._stopping.wait(self.between * chance.uniform(0.5, 1.5))

    def _try(self, verb: str, name: str) -> Try:
        with self._counting:
            began = time.monotonic()
            self.begun += 1
        status = getattr(self.served, verb)(self.site, name)
        tried = Try(verb, name, began, time.monotonic(), status)
        self.tries.append(tried)
        return tried

    def met(self, since: float) -> int:
        """Return how many requests were on their way at a time or later."""
        return self.begun - sum(each.ended <= since for each in list(self.tries))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@dataclass(frozen=True)
class Outage:
    """One time without Redis.

    Args:
        fault: Whether it was stopped or killed.
        began: When it went.
        back: When it has answered a PING again.
        delay: By how many seconds the machine was late just after that, by what a PING took.
    """

    fault: str
    began: float
    back: float
    delay: float = 0.0

    def met_by(self, each: Try) -> bool:
        """Whether a request was on its way meanwhile."""
        return each.began < self.back and each.ended > self.began


def serve(
    name: str,
    seed: int,
    *,
    stopped: float = STOPPED,
    quiet: float = 5.0,
    grace: float = GRACE,
    clients: int = CLIENTS,
    between: float = PAUSE,
    met: int = MET,
    kind: Kind = "valkey",
) -> Result:
    """Serve a page's project, and let Redis go twice, in an order that the seed says.

    Args:
        name: Of :data:`SERVED`.
        seed: Of the order, and of the times between.
        stopped: For how many seconds Redis does not answer.
        quiet: For how many seconds, at most, all is well in between.
        grace: Seconds after Redis is back from which on nothing may fail.
        clients: How many clients ask.
        between: Seconds from one request of a client to the next, on average.
        met: How many requests each outage has to meet.
        kind: Which server.
    """
    chance, served, began = random.Random(seed), SERVED[name], time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="served-") as folder,
        Server(kind, aof=True) as redis,
        Pulse(redis.port) as pulse,
        Site(served.page, Path(folder), redis.url) as site,
    ):
        site.make()
        host = site.host()
        web = site.serve(served.server)
        outages = []
        with Load(served, site, clients, between) as load:
            for fault in chance.sample(["stop", "kill"], 2):
                pause(quiet * chance.uniform(0.5, 1))
                away = stopped if fault == "stop" else stopped * chance.uniform(0.7, 1.0)
                outages.append(_fail(redis, pulse, fault, partial(_wait, load, met, away)))
            pause(max(quiet / 2, 2 * GRACE))
        outages = [replace(each, delay=pulse.delay(each.back, each.back + _WATCHED)) for each in outages]
        confirmed = {each.name for each in load.tries if each.verb == "fire" and each.is_good}
        drained = time.monotonic()
        _drain(confirmed, lambda: served.handled(host.output()))
        drained = time.monotonic() - drained
        status = host.terminate()
        verdict = judge(load.tries, outages, served.handled(host.output()), grace, met)
        verdict.wrong["exit status"] = [f"host: {status}"] if status else []
        outputs = [] if verdict.is_good else [each.output()[-3000:] for each in (host, web)]
        notes = [*_notes(load.tries, outages), *uncaught(load.tries, outages, web.output())]
        web.terminate()
    faults = {"stop": 1, "kill": 1}
    seconds = time.monotonic() - began
    return Result(name, kind, seed, seconds, verdict, drained, faults, outputs, notes)


def _fail(redis: Server, pulse: Pulse, fault: str, wait: Callable[[float], None]) -> Outage:
    began = time.monotonic()
    if fault == "stop":
        redis.pause()
        wait(began)
        again = time.monotonic()
        redis.resume()
    else:
        redis.kill()
        wait(began)
        again = time.monotonic()
        redis.start()
    return Outage(fault, began, pulse.back(again))


def _wait(load: Load, met: int, seconds: float, began: float) -> None:
    """Let Redis be away for so long, and on a busy machine until enough requests have met that."""
    pause(seconds)
    # Where even that does not bring as many, the verdict says so.
    with contextlib.suppress(AssertionError):
        eventually(lambda: load.met(began) >= met, _DRAIN / 2)


def _drain(confirmed: set[str], handled: Callable[[], list[str]]) -> None:
    """Wait until everything is handled; what is not is lost, which the verdict says."""
    try:
        eventually(lambda: confirmed <= set(handled()), _DRAIN)
    except AssertionError:
        return


def judge(
    tries: Sequence[Try],
    outages: Sequence[Outage],
    handled: Sequence[str],
    grace: float = GRACE,
    met: int = 0,
) -> Verdict:
    """Compare what clients were told with what was handled.

    Args:
        tries: All requests.
        outages: When Redis was away.
        handled: The name in each event that was handled.
        grace: Seconds after an outage in which requests may still fail, if the machine is not late itself.
        met: How many requests each outage has to meet.
    """
    fires = [each for each in tries if each.verb == "fire"]
    confirmed = {each.name for each in fires if each.is_good}
    verdict = Verdict(fired=len({each.name for each in fires}), confirmed=len(confirmed))
    verdict.kept = len(confirmed)
    calls = [each for each in tries if each.verb == "call"]
    verdict.calls = len(calls)
    verdict.outcomes = Counter("result" if each.is_good else str(each.status) for each in calls)
    verdict.raised = Counter(str(each.status) for each in fires if not each.is_good)
    twice = [name for name, times in Counter(handled).items() if times > 1]
    verdict.duplicates = len(twice)
    last = {(each.verb, each.name): each for each in tries}
    failed = [each for each in tries if not each.is_good]
    late = [
        each for each in failed if not any(o.began <= each.ended <= o.back + o.delay + grace for o in outages)
    ]
    verdict.wrong = {
        "lost": sorted(confirmed - set(handled)),
        "phantom": sorted(set(handled) - {each.name for each in fires}),
        "twice": sorted(twice),
        "late": [f"{each} after {_since(each, outages):.2f} s" for each in late],
        "uncaught": [str(each) for each in failed if each.status == 500],
        "unanswered": [str(each) for each in failed if each.status == 0],
        "without end": [str(each) for each in last.values() if not each.is_good],
        "hardly met": [each.fault for each in outages if sum(map(each.met_by, tries)) < met],
    }
    return verdict


def _since(each: Try, outages: Iterable[Outage]) -> float:
    """How long Redis had been back when a request failed."""
    return min((each.ended - o.back for o in outages if o.back < each.ended), default=0.0)


def _notes(tries: Sequence[Try], outages: Iterable[Outage]) -> list[str]:
    took = [each.ended - each.began for each in tries]
    notes = [
        f"{len(tries)} requests, {statistics.median(took):.3f} s in the median, {max(took):.3f} s at most"
    ]
    for each in outages:
        met = [request for request in tries if each.met_by(request)]
        failed = [request for request in met if not request.is_good]
        how = dict(Counter(f"{request.verb} {request.status}" for request in failed))
        last = max((request.ended - each.back for request in failed), default=0.0)
        notes.append(
            f"{each.fault}: away for {each.back - each.began:.1f} s, met by {len(met)} requests, of which "
            f"{len(failed)} failed and were done again: {how}, the last {last:+.2f} s after Redis was back; "
            f"the machine was late by {each.delay:.2f} s"
        )
    return notes


def uncaught(tries: Sequence[Try], outages: Iterable[Outage], output: str) -> list[str]:
    """Say when requests were answered with 500, and with which errors, by what the web server has logged.

    Args:
        tries: All requests.
        outages: When Redis was away.
        output: All that the web server has printed.
    """
    wrong = [each for each in tries if each.status == 500]
    if not wrong:
        return []
    start = min(each.began for each in tries)
    first, last = min(each.ended for each in wrong) - start, max(each.ended for each in wrong) - start
    away = ", ".join(f"{each.fault} {each.began - start:.1f} to {each.back - start:.1f}" for each in outages)
    raised = Counter(line[:300] for line in _RAISED.findall(output))
    return [
        f"{len(wrong)} answers of 500, from {first:.1f} to {last:.1f} s after the first request ({away})",
        *(f"raised {times} times: {line}" for line, times in raised.most_common(5)),
    ]
