"""Keeps other services from serving the APIs of this process."""

from __future__ import annotations

import asyncio
import logging

from lightbus.bus.parts import Parts
from lightbus.exceptions import ConfigurationError, LightbusException, TransportError
from lightbus.runtime.retrying import Retrying

logger = logging.getLogger(__name__)

#: Seconds that giving up APIs may take at the end; they come free by themselves in any case.
_DISOWN_TIMEOUT = 2.0


class Ownership:
    """The lease on the APIs of this process. All processes of its service share it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._names: list[str] = []
        self._lost: set[str] = set()

    def add(self, api_name: str) -> None:
        """Own a further API, from the next call of :meth:`take` or renewal on."""
        if not self._parts.registry.get(api_name).internal:
            self._names.append(api_name)

    async def take(self) -> None:
        """Become an owner, before anything is served.

        Raises:
            ConfigurationError: Another service owns one of the APIs.
        """
        what, obstacles = "the owners of the APIs can't be read", self._parts.obstacles
        asking = Retrying(logger, what, level=logging.ERROR, obstacles=obstacles)
        others = await asking.until_done(self._ask, TransportError)
        if others:
            await self.give_up()
            raise ConfigurationError("\n".join(taken(self._parts, *other) for other in others.items()))

    async def keep(self) -> None:
        """Renew the lease for ever; APIs that were lost are logged, and asked for again."""
        renewing = Retrying(logger, "the ownership of APIs could not be renewed")
        while True:
            await asyncio.sleep(self._parts.wiring.schema_ttl / 3)
            try:
                others = await self._ask()
            except LightbusException as e:
                renewing.failed(e)
                continue
            renewing.clear()
            for name in others.keys() - self._lost:
                logger.error(
                    "the service %s owns the API %s now, but this service serves it, too; stop one of them",
                    others[name],
                    name,
                )
            for name in self._lost - others.keys():
                logger.info("the API %s belongs to this service again", name)
            self._lost = set(others)

    async def give_up(self) -> None:
        """Give up all APIs, so that another service may own them at once."""
        if not self._names:
            return
        try:
            async with asyncio.timeout(_DISOWN_TIMEOUT):
                schema = self._parts.transports().schema()
                await schema.disown(self._names, self._parts.identity)
        except (TimeoutError, LightbusException) as e:
            logger.debug("the ownership of APIs was not given up: %s", e)

    async def _ask(self) -> dict[str, str]:
        """Ask for all APIs; return those that other services own, with the names of these services."""
        if not self._names:
            return {}
        wiring = self._parts.wiring
        schema = self._parts.transports().schema()
        owners = await schema.own(self._names, wiring.identity, wiring.schema_ttl)
        return {name: owner for name, owner in owners.items() if owner != wiring.identity.service_name}


def taken(parts: Parts, name: str, owner: str) -> str:
    """Say that an API of this service is another one's at present, and what to do.

    Args:
        parts: The bus of this service.
        name: The API.
        owner: The service that owns it.
    """
    path, service = f"apis.{name}.owner", parts.identity.service_name
    place = parts.wiring.origin(path)
    where = f"{place}  {path}: " if place else ""
    return (
        f"{where}the API {name!r} is served by the service {owner!r} already, and this is "
        f"{service!r}; stop that service, or leave the API to it with {path}: {owner}. "
        "If that service has crashed, the API comes free by itself within "
        f"{parts.wiring.schema_ttl:g} s (bus.schema.ttl): start this one again then"
    )
