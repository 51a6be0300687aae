"""One service as whoever runs it has to know it: what a manifest says of that, and what it lacks."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Place, Problems
from lightbus.manifest.text.nodes import Broken

from .inputs import Inputs, inputs_of

#: Where an image has the project, and its user, who is nobody else's.
IMAGE_FOLDER = "/app"
IMAGE_USER = 10001
#: The keys whose values go into files.
_WRITTEN = ("processes", "bus.drain_timeout", "http.listen", "http.dead_after")
#: Seconds from the time that a process takes at most to end, to its being killed.
_MARGIN = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """The command that asks for files.

    Args:
        target: Such as ``systemd``.
        config: The manifests that it names.
        settings: The ``KEY=VALUE`` of each ``--set``.
        flags: Its other options that make the manifest, as they are written.
        folder: The folder of the project, from which it runs.
        closing: Seconds that a process takes at most for closing, after what runs has finished.
    """

    target: str
    config: tuple[str, ...]
    settings: tuple[str, ...]
    flags: tuple[str, ...]
    folder: Path
    closing: float

    @property
    def arguments(self) -> tuple[str, ...]:
        """The same options for ``lightbus run``."""
        configs = [word for path in self.config for word in ("-c", path)]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        return (*configs, *self.flags, *settings)

    def __str__(self) -> str:
        return shlex.join(("lightbus", "export", self.target, *self.arguments))


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Args:
        manifest: Its manifest, in which variables are left out.
        asked: The command that asks.
        name: Its name.
        inputs: The variables and files that it needs.
        problems: Takes what the manifest lacks.
    """

    manifest: Manifest
    asked: Asked
    name: str
    inputs: Inputs
    problems: Problems

    @property
    def slug(self) -> str:
        """The name in the form that all of them take: small letters, digits and hyphens."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:50] or "service"

    @property
    def header(self) -> str:
        """The lines at the top of a file, as comments."""
        return (
            f"# Written by: {self.asked}\n"
            "# It follows the manifest: change that and write this again. With --out and --check, the same\n"
            "# command says whether they differ.\n"
        )

    @property
    def grace(self) -> int:
        """Seconds from SIGTERM until it may be killed."""
        return math.ceil(self.manifest.bus.drain_timeout + self.asked.closing) + _MARGIN

    @property
    def port(self) -> int | None:
        """The port of health and metrics."""
        listen = self.manifest.http.listen
        return int(listen.rpartition(":")[2]) if listen else None

    @property
    def ports(self) -> range:
        """The ports of all its processes."""
        return range(self.port or 0, (self.port or 0) + (self.manifest.processes if self.port else 0))

    @property
    def extras(self) -> str:
        """The extras of Lightbus that it needs, in brackets; empty if it needs none."""
        needed = ["http"] if self.port else []
        needed += ["schedule"] if any(each.cron for each in self.manifest.schedules.values()) else []
        return f"[{','.join(needed)}]" if needed else ""

    def run(self, *more: str) -> tuple[str, ...]:
        """Return the command that runs it.

        Args:
            more: Settings besides those of the manifest, as ``KEY=VALUE``.
        """
        return (
            "lightbus",
            "run",
            *self.asked.arguments,
            *(word for each in more for word in ("--set", each)),
        )

    def in_container(self) -> list[str]:
        """Return the settings with which its health can be asked for from outside of a container."""
        listen = self.manifest.http.listen
        host = listen.rpartition(":")[0] if listen else ""
        is_own = host in ("localhost", "[::1]") or host.startswith("127.")
        return [f"http.listen=0.0.0.0:{self.port}"] if is_own else []

    def need_port(self, who: str) -> None:
        """See that there is a port for health."""
        if self.port is None and self.manifest.origin("http.listen") is None:
            what = (
                f"{who} asks /livez and /readyz, but there is no port; write http: {{listen: 0.0.0.0:8099}}"
            )
            self.lacks("http.listen", what)

    def need_redis(self, where: str) -> None:
        """See that a Redis is named that can be reached from elsewhere."""
        if self.manifest.bus.redis.embedded:
            what = (
                f"each process would have a Redis of its own {where}, which ends with it; write "
                "embedded: false, and the url of one that stays"
            )
            self.lacks("bus.redis.embedded", what)
        elif not self.manifest.redis_configured:
            what = f"is not given, and {where} there is no Redis at 127.0.0.1; write url: ${{REDIS_URL}}"
            self.lacks("bus.redis.url", what)

    def lacks(self, path: str, what: str) -> None:
        """Note what the manifest lacks, at the place where it says it or should."""
        self.problems.add(self.place_of(path), path, what)

    def place_of(self, path: str) -> Place:
        """Return the nearest place to where a value is written, or should be."""
        keys = path.split(".")
        for end in range(len(keys), 0, -1):
            place = self.manifest.origin(".".join(keys[:end]))
            if place is not None:
                return place
        sources = self.manifest.sources
        return Place(sources[-1], 1, 1) if sources else Place("")


def service_of(manifest: Manifest, asked: Asked) -> Service:
    """Return the service that a manifest describes.

    Args:
        manifest: The manifest, read without the variables of any place.
        asked: The command that asks.
    """
    problems = Problems()
    service = Service(manifest, asked, manifest.service_name or "", inputs_of(manifest), problems)
    node = manifest.tree.get("service_name") if manifest.tree else None
    example = re.sub(r"[^A-Za-z0-9_.-]+", "-", asked.folder.name).strip("-.") or "shop"
    if not service.name:
        service.lacks("service_name", f"what is written has to have a name; write service_name: {example}")
    elif node is not None and "{" in str(node.value):
        what = (
            f"differs from machine to machine, and what is written can't; write one name, such as {example}"
        )
        service.lacks("service_name", what)
    for path in _WRITTEN:
        node = manifest.tree.find(path) if manifest.tree else None
        if node is not None and isinstance(node.value, Broken):
            what = "is known only where it runs, and goes into a file; write it, or a default: ${NAME:-...}"
            service.lacks(path, what)
    for each in service.inputs.told:
        problems.add(each.place, each.path, "a secret would get into a file; write ${NAME} or ${file:/path}")
    return service
