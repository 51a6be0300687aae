"""A service that imports the class of another one's API, beside its owner: only the owner answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lightbus
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.patient import ENVIRONMENT, patient
from tests.support.processes import Process
from tests.support.servers import Server
from tests.wire.conftest import StartHost
from tests.wire.test_interop import wait_for_contract

CALLS = 200
# The importing service would say False.
SHARED = """
    import lightbus

    class AuthApi(lightbus.Api):
        user_registered = lightbus.Event(parameters=('username', 'email', 'is_admin'))

        class Meta:
            name = 'auth'

        def check_password(self, username: str, password: str) -> bool:
            return OWNS
"""
IMPORTER = """
    import lightbus
    from shared import AuthApi

    bus = lightbus.create()

    class ShopApi(lightbus.Api):
        class Meta:
            name = 'shop'

        def announce(self) -> str:
            try:
                bus.auth.user_registered.fire(username='u', email='e', is_admin=False)
            except lightbus.LightbusException as e:
                return f'{type(e).__name__}: {e}'
            return 'fired'

    bus.client.register_api(ShopApi())
"""
OWNER = """
    import lightbus
    from shared import AuthApi

    bus = lightbus.create()
    bus.client.register_api(AuthApi())
"""


@pytest.fixture
def services(tmp_path: Path, shared_redis: Server) -> Iterator[tuple[Project, Project]]:
    """An owner and a service that imports its class, each in its own folder."""
    made = []
    for name, bus in (("owner", OWNER), ("importer", IMPORTER)):
        (tmp_path / name).mkdir()
        project = Project(tmp_path / name, shared_redis.url)
        project.env |= ENVIRONMENT
        project.write("shared.py", SHARED.replace("OWNS", str(name == "owner")))
        project.write("bus.py", bus)
        made.append(project)
    yield made[0], made[1]
    for project in made:
        project.close()


def answers(server: Server, number: int) -> set[bool]:
    """The different answers to calls of a client, which knows no class."""
    with lightbus.create(patient(server.url)) as bus:
        return {bus.auth.check_password(username="admin", password="secret") for _ in range(number)}


def start(project: Project, name: str) -> Process:
    return project.host("--service-name", name)


def test_beside_an_owner_on_1x_all_calls_reach_the_owner(
    services: tuple[Project, Project], peer_worker: StartHost, shared_redis: Server
) -> None:
    peer_worker("owner")
    wait_for_contract(shared_redis)
    importer = start(services[1], "importer")
    assert answers(shared_redis, CALLS) == {True}
    assert "the API auth is imported, not registered: it is not served" in importer.output()
    assert "APIs in the registry: shop (by register_api())" in importer.output()
    said = services[1].call("shop.announce")
    assert said.startswith("NotAuthoritative: auth.user_registered can't be fired here, since this service")


@pytest.mark.parametrize("first", ["owner", "importer"])
def test_with_both_on_2_either_may_start_first(
    services: tuple[Project, Project], shared_redis: Server, first: str
) -> None:
    owner, importer = services
    if first == "importer":
        start(importer, "importer")
    start(owner, "owner")
    if first == "owner":
        start(importer, "importer")
    assert answers(shared_redis, 20) == {True}


def test_the_manifest_gives_an_imported_api_to_its_service(
    services: tuple[Project, Project], shared_redis: Server
) -> None:
    importer = services[1]
    importer.write("lightbus.yaml", "service_name: importer\napis: {auth: {owner: importer}}\n")
    host = importer.host()
    assert "APIs in the registry: auth (by the manifest); shop (by register_api())" in host.output()
    assert answers(shared_redis, 1) == {False}
    assert importer.call("shop.announce") == "fired"


def test_a_1x_worker_serves_what_it_registers_alone_too(peer_worker: StartHost, shared_redis: Server) -> None:
    """That is the rule which ours follows; its bus module imports and defines the class in any case."""
    peer_worker("listener")
    eventually(lambda: shared_redis.execute("KEYS", "*stream*"), what="its listener")
    assert shared_redis.execute("EXISTS", "schema:auth") == 0
