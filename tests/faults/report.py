"""What came of campaigns, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .oracle import Verdict


@dataclass
class Result:
    """What came of a campaign."""

    name: str
    server: str
    seed: int
    seconds: float
    verdict: Verdict
    #: How long it took until nothing was left to do.
    drained_in: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    #: What the processes printed last; kept where something is wrong.
    outputs: list[str] = field(default_factory=list)
    #: What else was measured, in words.
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of it, for a campaign that went wrong."""
        lines = [f"faults: {self.faults}", f"outcomes of calls: {dict(self.verdict.outcomes)}", *self.notes]
        for name, examples in self.verdict.wrong.items():
            if examples:
                lines.append(f"{name}: {len(examples)}, such as {examples[:5]}")
        for output in self.outputs:
            lines.append("----\n" + output)
        return "\n".join(lines)


def told(result: Result) -> str:
    """All that there is to say of one campaign."""
    return "\n".join([table([result]), result.text()])


def table(results: Sequence[Result]) -> str:
    """One line per campaign, and what was wrong."""
    rows = [_row(result) for result in results]
    columns = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in columns]
    lines = [columns, *([row[name] for name in columns] for row in rows)]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def _row(result: Result) -> dict[str, str]:
    v = result.verdict
    wrong = ", ".join(f"{name} {len(examples)}" for name, examples in v.wrong.items() if examples)
    return {
        "campaign": result.name,
        "server": result.server,
        "seed": str(result.seed),
        "seconds": f"{result.seconds:.0f}",
        "faults": str(sum(result.faults.values())),
        "deaths": str(v.deaths),
        "fired": str(v.fired),
        "confirmed": str(v.confirmed),
        "kept": str(v.kept),
        "lost": str(len(v.wrong.get("lost", ()))),
        "stuck": str(len(v.wrong.get("stuck", ()))),
        "phantom": str(len(v.wrong.get("phantom", ()))),
        "twice": str(v.duplicates),
        "bound": str(v.bound),
        "stored twice": str(v.stored_twice),
        "poison": str(v.poison),
        "dead": str(v.dead),
        "unlucky": str(v.unlucky),
        "calls": str(v.calls),
        "failed": str(v.failed),
        "drain": f"{result.drained_in:.1f}",
        "verdict": wrong or "good",
    }
