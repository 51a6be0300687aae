"""A bus module whose listener handles each event only the second time."""

from __future__ import annotations

from pathlib import Path

from lightbus import Api, Backoff, BusPath, DeliveryPolicy, Event, EventMessage, Parameter
from lightbus.options import Duration


class LabApi(Api):
    """Measures, of any size or none."""

    measured = Event(parameters=(Parameter("value", float), Parameter("number", int)))

    class Meta:
        name = "lab"

    def same(self, value: float, number: int) -> list:  # type: ignore[type-arg]
        return [value, number]


def note(event_message: EventMessage, value: float, number: int) -> None:
    """Write down what came; at first, an event is refused, with a negative number for good."""
    tried, line = Path("tried"), f"{value} {number}\n"
    before = tried.read_text() if tried.exists() else ""
    tried.write_text(before + line)
    if line not in before:
        raise KeyError(line) if number < 0 else ValueError(line)


def before_server_start(bus: BusPath) -> None:
    """Listen."""
    policy = DeliveryPolicy(backoff=Backoff(initial=Duration(0.01)), give_up_on=(KeyError,))
    bus.lab.measured.listen(note, on_error=policy)
