"""For tests of code that uses a bus: a whole bus in memory, mocks, and time that stands still."""

from .clock import VirtualClock
from .hosting import Hosted, hosted
from .mocker import BusMocker, MockResult, bus_mocker

__all__ = ["BusMocker", "Hosted", "MockResult", "VirtualClock", "bus_mocker", "hosted"]
