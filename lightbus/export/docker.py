"""An image: its Dockerfile, and what does not get into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from .service import IMAGE_FOLDER, IMAGE_USER, Service

#: The newest Python that Lightbus is tested with.
_PYTHON = "3.13"
_DOCKERFILE = """\
{header}#
#   docker build --tag {slug} .
{inputs}
FROM python:{python}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
{install}
FROM python:{python}-slim
# A user of its own, who owns nothing here: the image is not to be changed by what runs in it.
RUN useradd --system --uid {user} --no-create-home --shell /usr/sbin/nologin {slug}
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR {folder}
COPY . .
USER {user}
{ports}# It ends in good order on SIGTERM, within {grace} s: docker stop --time {grace}
STOPSIGNAL SIGTERM
CMD {command}
"""
_IGNORED = """\
{header}
# What comes from elsewhere, or is made again.
.git
.gitignore
.github
.venv*
venv
**/__pycache__
**/*.py[cod]
**/*.egg-info
.mypy_cache
.pytest_cache
.ruff_cache
build
dist
.lightbus

# Secrets are given to a container when it runs; none is part of an image.
.env
.env.*
secrets
**/*.key
**/*.pem

# The image itself is no part of itself.
.dockerignore
Dockerfile
compose.yaml
"""


def image(service: Service) -> dict[str, str]:
    """Return the files of an image, by name."""
    for source in service.manifest.sources:
        path = Path(service.asked.folder, source)
        if "://" not in source and not path.resolve().is_relative_to(service.asked.folder.resolve()):
            what = f"{source} is outside of this folder, so it would not be in the image; move it here"
            service.lacks("include", what)
    exposed = " ".join(map(str, service.ports))
    ports = f"# Health and metrics.\nEXPOSE {exposed}\n" if exposed else ""
    dockerfile = _DOCKERFILE.format(
        header=service.header,
        slug=service.slug,
        inputs="".join(f"{line}\n" for line in _inputs(service)),
        python=_PYTHON,
        install=_install(service),
        user=IMAGE_USER,
        folder=IMAGE_FOLDER,
        ports=ports,
        grace=service.grace,
        command=json.dumps(service.run(*service.in_container())),
    )
    return {"Dockerfile": dockerfile, ".dockerignore": _IGNORED.format(header=service.header)}


def _inputs(service: Service) -> Iterator[str]:
    for variable in service.inputs.variables:
        need = " (has a default)" if variable.is_optional else ""
        yield f"#   docker run --env {variable.name}: {variable.use}{need}"
    for file in service.inputs.files:
        yield f"#   docker run --volume ...:{file.within(IMAGE_FOLDER)}:ro: {file.use}"


def _install(service: Service) -> str:
    """Return the steps that install what the project needs, as the project itself says it."""
    folder = service.asked.folder
    if (folder / "requirements.txt").exists():
        return f"COPY requirements.txt .\nRUN pip install -r requirements.txt{_lightbus(service)}\n"
    if (folder / "pyproject.toml").exists():
        return f"COPY . /project\nRUN pip install /project{_lightbus(service)}\n"
    return (
        f"# There is no requirements.txt and no pyproject.toml here.\nRUN pip install{_lightbus(service)}\n"
    )


def _lightbus(service: Service) -> str:
    return f" 'lightbus{service.extras}'"
