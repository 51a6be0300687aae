"""A service with real processes that notes what it does in files, which tell of it after kills, too."""

from __future__ import annotations

from collections import Counter

from tests.guide.project import Project

STREAM = "shop.*:stream"
BUS = """
    import os, time
    from pathlib import Path
    from lightbus import Api, Event

    HERE = Path({folder!r})

    class ShopApi(Api):
        sold = Event(parameters=("n",))

        class Meta:
            name = "shop"

    def add(name, what):
        with (HERE / name).open("a") as file:
            file.write(f"{{what}}\\n")

    def note(event, n):
        add("noted", n)
        while (HERE / "hold").exists():
            time.sleep(0.02)

    def close():
        add("closed", os.getpid())
"""


class NotingShop:
    """The service: its listener's handler is ``bus:note``, and ``bus:close`` is for schedules.

    Args:
        project: Its folder, and what starts its processes.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.fired = 0

    def write(self, manifest: str, folder: str = ".") -> None:
        """Write the bus module and a manifest; versions in several folders write into the same files."""
        self.project.write(f"{folder}/bus.py", BUS.format(folder=str(self.project.folder)))
        self.project.write(f"{folder}/lightbus.yaml", manifest)

    def fire(self, count: int = 1) -> None:
        """Fire events, each with the next number."""
        for _ in range(count):
            self.project.fire("shop.sold", n=self.fired)
            self.fired += 1

    def hold(self) -> None:
        """Let handlers that have noted their event wait, until they are let go."""
        (self.project.folder / "hold").touch()

    def let_go(self) -> None:
        """Let them end."""
        (self.project.folder / "hold").unlink()

    @property
    def noted(self) -> Counter[int]:
        """How often each event was handled."""
        return Counter(self._numbers("noted"))

    @property
    def closed(self) -> list[int]:
        """The processes in which the schedule has run."""
        return self._numbers("closed")

    def all_once(self) -> bool:
        """Tell whether each event that was fired was handled, and once."""
        return self.noted == Counter(range(self.fired))

    def _numbers(self, name: str) -> list[int]:
        path = self.project.folder / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []
