"""A file for Docker Compose: the service, and a Redis where the manifest names none."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .inputs import File, Variable
from .service import IMAGE_FOLDER, Service
from .writing import indented, text_in_yaml

_COMPOSE = """\
{header}#
#   docker compose up --build
{inputs}
name: {slug}

services:
  {slug}:
    build: . # lightbus export docker writes the Dockerfile
    image: {image}
    command: {command}
{environment}{secrets}{after}    restart: unless-stopped
    init: true
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    # bus.drain_timeout, and what closing takes.
    stop_grace_period: {grace}s
    healthcheck:
      test: {test}
      interval: 10s
      timeout: 5s
      retries: 3
      start_period: 30s
{redis}{files}"""
_REDIS = """\

  # The manifest names no Redis, so here is one.
  redis:
    image: valkey/valkey:8-alpine
    # Written to disk at once, and never dropped: what fire() has confirmed stays.
    command: [valkey-server, --appendonly, "yes", --maxmemory-policy, noeviction]
    volumes: ["redis:/data"]
    restart: unless-stopped
    healthcheck:
      test: [CMD, valkey-cli, ping]
      interval: 5s

volumes:
  redis:
"""
#: Fails unless each process is ready.
_ASK = "import sys, urllib.request as r; [r.urlopen(f'http://127.0.0.1:{p}/%s') for p in sys.argv[1:]]"


def compose(service: Service, image: str) -> dict[str, str]:
    """Return the file, by its name.

    Args:
        service: The service.
        image: The image that is built and run.
    """
    service.need_port("Compose")
    manifest = service.manifest
    brings_redis = not manifest.redis_configured or bool(manifest.bus.redis.embedded)
    more = ["bus.redis.embedded=false", "bus.redis.url=redis://redis:6379/0"] if brings_redis else []
    after = "    depends_on: {redis: {condition: service_healthy}}\n" if brings_redis else ""
    test = ["CMD", "python", "-c", _ASK % "readyz", *map(str, service.ports)]
    text = _COMPOSE.format(
        header=service.header,
        slug=service.slug,
        image=text_in_yaml(image),
        inputs="".join(f"{line}\n" for line in _told(service)),
        command=_list(service.run(*more)),
        environment=_block("environment", _environment(service.inputs.variables)),
        secrets=_block("secrets", _mounted(service.inputs.files)),
        after=after,
        grace=service.grace,
        test=_list(test),
        redis=_REDIS if brings_redis else "",
        files=_sources(service.inputs.files),
    )
    return {"compose.yaml": text}


def _told(service: Service) -> Iterator[str]:
    needed = [variable.name for variable in service.inputs.variables if not variable.is_optional]
    if needed:
        yield f"# It takes {', '.join(needed)} from the environment, or from a file .env beside this one."
    if service.inputs.files:
        yield "# It takes the files below from secrets/ beside this one; neither belongs into a repository."


def _environment(variables: tuple[Variable, ...]) -> Iterator[str]:
    for variable in variables:
        # An empty value passes the variable on if it is set, so that the manifest's default holds else.
        value = "" if variable.is_optional else f' "${{{variable.name}:?is not set}}"'
        yield f"{variable.name}:{value} # {variable.use}"


def _mounted(files: tuple[File, ...]) -> Iterator[str]:
    for file in files:
        yield f"- {{source: {text_in_yaml(file.key)}, target: {text_in_yaml(file.within(IMAGE_FOLDER))}}}"


def _sources(files: tuple[File, ...]) -> str:
    if not files:
        return ""
    lines = [f"{text_in_yaml(file.key)}: {{file: ./secrets/{file.key}}} # {file.use}" for file in files]
    return f"\nsecrets:\n{indented(lines, 2)}"


def _block(name: str, lines: Iterator[str]) -> str:
    text = indented(lines, 6)
    return f"    {name}:\n{text}" if text else ""


def _list(words: tuple[str, ...] | list[str]) -> str:
    # Compose replaces what begins with a dollar.
    return json.dumps([word.replace("$", "$$") for word in words])
