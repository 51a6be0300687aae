"""The console: what is on the bus, in a browser. It needs the extra ``web``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightbus.exceptions import MissingExtra
from lightbus.manifest.model import Manifest

from .access.rights import User as User
from .access.users import Resolve as Resolve

if TYPE_CHECKING:
    from .console import Console

__all__ = ["Resolve", "User", "app"]


def app(manifest: Manifest, resolve: Resolve | None = None) -> Console:
    """Make the console as an ASGI application, to be served or mounted.

    Args:
        manifest: Says where the brokers are, and by ``web`` how the console is.
        resolve: Says who sends a request, from its ASGI scope; None for nobody. It takes the place of
            ``web.auth`` where the console is a part of an application that has users already.

    Raises:
        ConfigurationError: The file of tokens can't be used.
        MissingExtra: Starlette or Jinja is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
    except ImportError as e:
        raise MissingExtra("the console", "web") from e
    from .console import Console

    return Console(manifest, resolve)
