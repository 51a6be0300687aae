"""The bus of the project that a command runs in, with what its modules define."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lightbus.bus.modules.hosted import hosted
from lightbus.bus.modules.offers import Offers
from lightbus.bus.path import BusPath
from lightbus.exceptions import FailedToImportBusModule
from lightbus.host.checks import client_for
from lightbus.host.importing import import_bus_module, look_in, set_up_django
from lightbus.manifest.model import Manifest
from lightbus.manifest.problems import Problems
from lightbus.manifest.wiring import wiring_of


def project_bus(
    manifest: Manifest, *, may_lack_modules: bool = False, fires_imported: bool = False
) -> BusPath:
    """Import a project's bus modules and return the bus on which they register; nothing is connected.

    Args:
        manifest: The option that names the modules.
        may_lack_modules: Whether it is no error that a module which nobody named is not there.
        fires_imported: Whether a person may fire events of APIs that modules only import, as programs may,
            and call what the manifest does not declare.

    Raises:
        InvalidManifest: Django is to be set up, and can't be.
        FailedToImportBusModule: A module is not there or raises.
    """
    client, folder = client_for(manifest), Path.cwd()
    offers = Offers(client.registry)
    bus = BusPath(client)
    hosted(bus, manifest)
    try:
        look_in(folder)
        problems = Problems()
        set_up_django(manifest, problems)
        problems.raise_errors()
        for name in manifest.modules:
            offers.add(import_bus_module(name, folder, manifest.modules_given))
    except FailedToImportBusModule as e:
        is_there = getattr(e.__cause__, "name", None) not in manifest.modules
        if is_there or manifest.modules_given or not may_lack_modules:
            raise
    if fires_imported:
        client.registry.offers = None
    if not client.service_name:
        client.parts.connections.rewire(wiring_of(manifest, client.registry))
    if fires_imported:
        client.parts.connections.rewire(replace(client.parts.wiring, only_calls=None))
    return bus
