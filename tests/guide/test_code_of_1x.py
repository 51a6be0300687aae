"""Code of Lightbus 1.x in a process of its own: its names, what it catches, its configuration."""

from __future__ import annotations

from tests.support.servers import Server

from .project import Project

BUS = """
    import lightbus

    bus = lightbus.create()

    class ShopApi(lightbus.Api):
        sold = lightbus.Event(parameters=(
            lightbus.Parameter('sku', str), lightbus.Parameter('count', int, default=1)
        ))

        class Meta:
            name = 'shop'
            version = 5

        def price(self, sku: str) -> int:
            return 3

    bus.client.register_api(ShopApi())
"""
SCRIPT = """
    import pathlib
    import lightbus
    from bus import ShopApi, bus
    from lightbus.exceptions import UnknownApi

    def raised(function, **arguments):
        try:
            function(**arguments)
        except lightbus.LightbusException as e:
            print(type(e).__name__, 'is caught as UnknownApi' if isinstance(e, UnknownApi) else '')

    class Another(lightbus.Api):
        class Meta:
            name = 'shop'
            auto_register = False

    def hear(event_message, **kwargs):
        pass

    print(bus.shop.sold.fire(sku='cup').version)
    print([parameter.is_required for parameter in ShopApi.sold.parameters])
    raised(bus.nowhere.sold.fire)
    strict = lightbus.create({'apis': {'default': {'strict_validation': True}}})
    raised(strict.nowhere.price, sku='cup')
    raised(bus.shop.nothing.listen, listener=hear, listener_name='hear')
    raised(bus.client.listen_for_event, api_name='shop', name='', listener=hear, listener_name='hear')
    raised(bus.client.register_api, api=Another())
    [file] = bus.schema.save_local('contracts')
    print(lightbus.create().schema.load_local(file))
"""


def test_versions_errors_and_files(project: Project) -> None:
    project.write("bus.py", BUS)
    assert project.script(SCRIPT).splitlines() == [
        "5",
        "[True, False]",
        "NotAuthoritative is caught as UnknownApi",
        "SchemaNotFound is caught as UnknownApi",
        "EventNotFound ",
        "EventNotFound ",
        "DuplicateApi ",
        "['shop']",
    ]


def test_contracts_may_go_nowhere(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS)
    project.write("lightbus.yaml", "bus: {schema: {transport: {debug: {}}}}\n")
    host = project.host("--log-level", "debug")
    assert project.call("shop.price", sku="cup") == 3
    assert "the contract of shop goes nowhere, since its transport is debug" in host.output()
    assert redis_server.execute("EXISTS", "schema:shop") == 0
    assert host.terminate() == 0
