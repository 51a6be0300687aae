"""A unit for systemd, which is told by ``sd_notify`` how the service is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePosixPath

from .service import Service

#: The folders that systemd hides from a service unless it is told otherwise.
_HOMES = ("/home", "/root", "/run/user")
_UNIT = """\
{header}#
# To install it: copy the project to {folder}, with a venv in {folder}/.venv; then
#   useradd --system --home-dir {folder} --shell /usr/sbin/nologin {user}
#   cp {file} /etc/systemd/system/
#   systemctl daemon-reload && systemctl enable --now {file}
{inputs}
[Unit]
Description={name}, a service on the bus
Wants=network-online.target
After=network-online.target
# It waits for its Redis by itself, and is never given up.
StartLimitIntervalSec=0

[Service]
# It says when it is ready, reloading or stopping, and why it is not ready: systemctl status {file}
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={folder}
{environment}User={user}
Restart=always
RestartSec=2
# Misuse and a wrong configuration: no further start cures them.
RestartPreventExitStatus=64 78
# http.dead_after: an event loop that is blocked for so long is started again.
WatchdogSec={watchdog}
# bus.drain_timeout, and what closing takes.
TimeoutStopSec={grace}
# SIGTERM is for the service itself, which ends what it has started.
KillMode=mixed

{hardening}
[Install]
WantedBy=multi-user.target
"""
_HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0077
"""


def unit(service: Service, folder: str) -> dict[str, str]:
    """Return the unit, by the name of its file.

    Args:
        service: The service.
        folder: The folder that its project has on the machine.
    """
    slug = service.slug
    needed = [variable for variable in service.inputs.variables if not variable.is_optional]
    environment = ""
    if service.inputs.variables:
        environment = f"EnvironmentFile={'' if needed else '-'}/etc/{slug}/environment\n"
    home = "read-only" if _is_below(folder, _HOMES) else "yes"
    hardening = _HARDENING.format(home=home)
    if service.manifest.bus.redis.embedded:
        hardening += f"# The data of the embedded Redis.\nReadWritePaths=-{folder}/.lightbus\n"
    program, *arguments = service.run()
    text = _UNIT.format(
        header=service.header,
        folder=folder,
        user=slug,
        file=f"{slug}.service",
        name=service.name.replace("%", "%%"),
        inputs="".join(f"# {line}\n".replace("# \n", "#\n") for line in _inputs(service, folder)),
        command=" ".join((f"{folder}/.venv/bin/{program}", *(_quoted(each) for each in arguments))),
        environment=environment,
        watchdog=math.ceil(service.manifest.http.dead_after),
        grace=service.grace,
        hardening=hardening,
    )
    return {f"{slug}.service": text}


def _inputs(service: Service, folder: str) -> Iterator[str]:
    slug, inputs = service.slug, service.inputs
    if inputs.variables:
        yield ""
        yield f"Variables, a line NAME=VALUE each, in /etc/{slug}/environment, which only root may read:"
        for variable in inputs.variables:
            need = " (has a default)" if variable.is_optional else ""
            yield f"  {variable.name}: {variable.use}{need}"
    if inputs.files:
        yield ""
        yield f"Files that the user {slug} has to be able to read:"
        for file in inputs.files:
            yield f"  {file.within(folder)}: {file.use}"


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)


def _quoted(word: str) -> str:
    """Return a word of a command as systemd reads it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if escaped == word and word and not set(word) & set(" \t'") else f'"{escaped}"'
