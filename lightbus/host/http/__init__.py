"""Health and metrics by HTTP, from a thread of its own: it answers also while the event loop is blocked."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from lightbus.host.host import Host


def serving(host: Host) -> AbstractContextManager[None]:
    """Serve the health and the metrics of a host where its manifest says so.

    Raises:
        ConfigurationError: The address can't be listened at, or an extra is missing.
    """
    if host.manifest.http.listen is None:
        return nullcontext()
    # Not at the top: a host that serves nothing does without its memory.
    from .server import listening

    return listening(host.manifest.http.listen, host)
