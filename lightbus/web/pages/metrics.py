"""Numbers of the whole bus for a collector of metrics."""

from __future__ import annotations

import time

from starlette.responses import Response

from lightbus.insight.traffic.numbers import as_prometheus, numbers, state_of
from lightbus.web.asking import Asked, Screen


async def metrics(asked: Asked) -> Response:
    """Return the numbers of the last look, as Prometheus reads them."""
    seen = await asked.looks.look()
    age = time.time() - seen.at if seen.value is not None else None
    families = [*state_of(age, is_readable=not seen.trouble)]
    if seen.value is not None and not seen.trouble:
        # Where it can't be read, old numbers would look like new ones.
        families += numbers(seen.value.overview, asked.looks.paces)
    return Response(as_prometheus(families), media_type="text/plain; version=0.0.4")


SCREENS = (Screen(path="/metrics", template="", title="Metrics", make=metrics),)
