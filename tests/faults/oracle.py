"""From the ledgers and what is left in Redis to what was lost, stuck, invented, doubled or mixed up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lightbus.declared.policy import DeliveryPolicy

from .ledger import Line, delays
from .settings import LEASE
from .watcher import Left, Theft

MAX_DEATHS = DeliveryPolicy().max_deaths
#: Seconds by which a replica may be behind when it is promoted.
_LAG = 1.0
#: Outcomes that say that a call never ran.
NEVER_RAN = {"NoWorker", "TransportUnavailable", "QueueFull"}
#: What a failed start of a listener may become.
_DEAD_KINDS = {"narrow": {"poison"}, "wide": {"poison", "killer"}, "plain": {"poison", "killer"}}


@dataclass
class Verdict:
    """The numbers of one campaign. All in `wrong` must be empty."""

    fired: int = 0
    confirmed: int = 0
    calls: int = 0
    deaths: int = 0
    #: Events that no listener can handle: each listener must put them aside.
    poison: int = 0
    #: Dead letters, of all listeners.
    dead: int = 0
    duplicates: int = 0
    #: Which those are.
    twice: list[str] = field(default_factory=list)
    bound: int = 0
    stored_twice: int = 0
    #: Events that must not be lost: confirmed, and where there is a replica, known to it.
    kept: int = 0
    #: Confirmed by a primary that its replica did not hear of, and gone with it.
    unreplicated: int = 0
    #: Calls that ran again since a replica had not heard that they had run.
    rerun: int = 0
    #: Dead-lettered although it only took long: it ran too often in processes that were killed.
    unlucky: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: What firing raised.
    raised: Counter[str] = field(default_factory=Counter)
    #: What must not be, by name, with examples.
    wrong: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.wrong.values())

    @property
    def failed(self) -> int:
        """How many calls had no result; most are meant to, by a caller without patience or a death."""
        return self.calls - self.outcomes["result"]

    def count(self, name: str) -> int:
        """How many things are wrong in one way."""
        return len(self.wrong[name])


@dataclass
class Events:
    """What the ledgers say of events."""

    kinds: dict[int, str]
    confirmed: set[int]
    #: Those that must not be lost.
    kept: set[int]
    denied: set[int]
    #: By listener and number: the runs that began, that went well, and that raised.
    started: dict[str, dict[int, list[Line]]]
    finished: dict[str, dict[int, list[Line]]]
    failed: dict[str, dict[int, list[Line]]]
    #: When primaries were replaced: begin and end.
    promotions: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Sequence[Line], kept: str, listeners: Iterable[str]) -> Events:
        """Pick them out of the ledgers; `kept` is the verb of what must not be lost."""
        runs: dict[str, dict[str, dict[int, list[Line]]]] = {
            verb: {name: defaultdict(list) for name in listeners} for verb in ("started", "done", "failed")
        }
        for line in lines:
            if line.verb in runs:
                runs[line.verb][line.words[0]][int(line.words[1])].append(line)
        return cls(
            {int(line.words[0]): line.words[1] for line in lines if line.verb == "fired"},
            {int(line.words[0]) for line in lines if line.verb == "confirmed"},
            {int(line.words[0]) for line in lines if line.verb == kept},
            {int(line.words[0]) for line in lines if line.verb == "raised" and line.words[1] in NEVER_STORED},
            runs["started"],
            runs["done"],
            runs["failed"],
            [(float(line.words[0]), float(line.words[1])) for line in lines if line.verb == "promotion"],
        )

    def is_held_up(self, listener: str, n: int) -> bool:
        """Whether an event takes long: it is slow, or could not be acknowledged while nobody took it.

        Of one that began just before a replica was promoted, that may not know that it was acknowledged.
        """
        runs = self.started[listener].get(n, ())
        in_promotion = any(begin - _LAG < run.time < end for run in runs for begin, end in self.promotions)
        return self.kinds.get(n) == "slow" or in_promotion

    def runs_of(self, listener: str, n: int) -> str:
        """Say what kind an event is, and when it ran where: evidence of what nobody had expected."""
        ends = [*self.finished[listener].get(n, ()), *self.failed[listener].get(n, ())]
        runs = [
            f"process {run.pid} from {run.time:.3f}{f' to {end:.3f}' if (end := _end_of(run, ends)) else ''}"
            for run in self.started[listener].get(n, ())
        ]
        return f"{self.kinds.get(n, 'never fired')}: {', '.join(runs)}"


#: Errors of firing that say that nothing was stored.
NEVER_STORED = {"TransportUnavailable", "StreamFull"}


def judge(
    lines: Sequence[Line],
    left: Left,
    dead: Mapping[str, Sequence[tuple[int, str]]],
    thefts: Sequence[Theft],
    bound: int,
    kept: str = "confirmed",
) -> Verdict:
    """Compare what was promised with what happened.

    Args:
        lines: All ledgers.
        left: What is in Redis after the drain.
        dead: The dead letters of each listener: number and reason.
        thefts: What went to another consumer without a delivery being counted.
        bound: How many events may have run twice.
        kept: What the publisher writes of an event that must not be lost.
    """
    events = Events.of(lines, kept, dead)
    verdict = Verdict(fired=len(events.kinds), confirmed=len(events.confirmed), bound=bound)
    verdict.kept = len(events.kept)
    verdict.raised = Counter(line.words[1] for line in lines if line.verb == "raised")
    verdict.poison = sum(kind in ("poison", "killer") for kind in events.kinds.values())
    verdict.deaths = sum(line.verb == "ended" for line in lines)
    verdict.wrong["stuck"] = [repr(left)] * left.total
    verdict.wrong["stolen"] = _stolen(lines, thefts)
    for name in ("lost", "phantom", "foreign", "not dead", "denied", "overlap"):
        verdict.wrong[name] = []
    for listener in dead:
        _judge_listener(verdict, events, listener, dead[listener])
    _judge_overlaps(verdict, lines, events)
    excess = verdict.duplicates - bound
    verdict.wrong["too many twice"] = verdict.twice[:] if excess > 0 else []
    _judge_calls(verdict, lines)
    return verdict


def _stolen(lines: Sequence[Line], thefts: Sequence[Theft]) -> list[str]:
    """Leases that were taken back.

    A process that is told to end counts a delivery less of all that it holds. Where it has claimed an entry
    just before, its two deliveries look like none to who has not looked in between.
    """
    leaving: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        if line.verb == "leaving":
            leaving[line.words[0]].append((float(line.words[1]), float(line.words[2])))
    return [
        str(theft)
        for theft in thefts
        if not any(
            begin < theft.till and theft.since < end
            for holder in (theft.before, theft.after)
            for begin, end in leaving[holder]
        )
    ]


def _judge_listener(verdict: Verdict, events: Events, listener: str, dead: Sequence[tuple[int, str]]) -> None:
    started, finished = events.started[listener], events.finished[listener]
    dead_numbers = {n for n, _ in dead}
    verdict.dead += len(dead)
    wrong = verdict.wrong
    missing = events.confirmed - set(finished) - dead_numbers
    wrong["lost"] += [f"{listener} {n}" for n in sorted(missing & events.kept)]
    verdict.unreplicated += len(missing - events.kept)
    wrong["phantom"] += [f"{listener} {n}" for n in sorted(set(started) - set(events.kinds))]
    wrong["denied"] += [f"{listener} {n}" for n in sorted(set(started) & events.denied)]
    may_die = {n for n, kind in events.kinds.items() if kind in _DEAD_KINDS.get(listener, ())}
    must_die = may_die & events.kept
    wrong["not dead"] += [f"{listener} {n}" for n in sorted(must_die - dead_numbers)]
    for n in sorted(dead_numbers - may_die):
        # One that takes long may run in three processes that are killed, or be fetched by one and run in two.
        reason, times = dict(dead)[n], len(started.get(n, ()))
        if reason == "process_died" and events.is_held_up(listener, n) and times >= MAX_DEATHS - 1:
            verdict.unlucky += 1
        else:
            evidence = f"started {times} times ({events.runs_of(listener, n)})"
            wrong["foreign"].append(f"{listener} {n} {reason}, {evidence}")
    for n, runs in finished.items():
        origins = Counter(run.words[2] for run in runs)
        verdict.duplicates += sum(origins.values()) - len(origins)
        verdict.twice += [f"{listener} {n} {origin}" for origin, times in origins.items() if times > 1]
        if listener == next(iter(events.started)):
            verdict.stored_twice += len(origins) - 1


def _judge_overlaps(verdict: Verdict, lines: Sequence[Line], events: Events) -> None:
    """An event must not start elsewhere while it runs in a process that nothing has touched or held up."""
    host_of = {int(line.words[1]): line.words[0] for line in lines if line.verb == "host"}
    touched: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        if line.verb == "fault":
            host, begin, end = line.words[0], float(line.words[1]), float(line.words[2])
            touched[host].append((begin - LEASE, end + 2 * LEASE))
    for hosts, begin, end in delays(lines):
        for host in hosts:
            touched[host].append((begin - LEASE, end + 2 * LEASE))
    for listener in events.started:
        for n, runs in events.started[listener].items():
            for first, second in pairwise(runs):
                if first.words[2] != second.words[2] or first.pid == second.pid:
                    continue
                end = _end_of(first, [*events.finished[listener][n], *events.failed[listener][n]])
                times = touched[host_of[first.pid]]
                is_touched = any(begin < second.time and first.time < finish for begin, finish in times)
                if end > second.time and not is_touched:
                    verdict.wrong["overlap"].append(f"{listener} {n}")


def _end_of(start: Line, ends: Sequence[Line]) -> float:
    """When a run ended; 0 where it did not, since its process died."""
    own = [end.time for end in ends if end.pid == start.pid and end.words[2] == start.words[2]]
    return min((time for time in own if time > start.time), default=0.0)


def _judge_calls(verdict: Verdict, lines: Sequence[Line]) -> None:
    called = {int(line.words[0]) for line in lines if line.verb == "called"}
    ran: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        if line.verb == "ran":
            ran[int(line.words[0])].append(line)
    outcomes = {int(line.words[0]): line.words[1:] for line in lines if line.verb == "outcome"}
    # A replica may be promoted that has not heard that a call was taken: there it is still to be run.
    promotions = [
        (float(line.words[0]) - _LAG, float(line.words[1])) for line in lines if line.verb == "promotion"
    ]
    unheard = {n for n, runs in ran.items() if any(begin < runs[0].time < end for begin, end in promotions)}
    verdict.calls = len(called)
    verdict.outcomes = Counter(" ".join(words).removesuffix(" -") for words in outcomes.values())
    twice = {n for n, runs in ran.items() if len(runs) > 1}
    denied = {n for n, words in outcomes.items() if words[1] == "no" or words[0] in NEVER_RAN}
    verdict.rerun = len((twice | denied & set(ran)) & unheard)
    wrong = verdict.wrong
    wrong["ran twice"] = [str(n) for n in sorted(twice - unheard)]
    wrong["no outcome"] = [str(n) for n in sorted(called - set(outcomes))]
    wrong["wrong result"] = [str(n) for n, words in outcomes.items() if words[0] == "wrong"]
    wrong["ran after all"] = [f"{n} {outcomes[n]}" for n in sorted(denied & set(ran) - unheard)]
    wrong["never ran"] = [str(n) for n, words in outcomes.items() if words[0] == "result" and n not in ran]
