"""Synchronous calls where greenlets stand in for threads: gevent carries them, and eventlet is refused."""

from __future__ import annotations

import importlib.util

from tests.conftest import missing
from tests.guide.project import Project

BUS = """
    import asyncio
    from lightbus import Api, Event

    go = asyncio.Event()

    class ShopApi(Api):
        sold = Event(parameters=("sku",))

        class Meta:
            name = "shop"

        def price(self, sku: str) -> int:
            return len(sku)

        async def stall(self) -> None:
            await asyncio.sleep(60)

        async def wait_for_go(self) -> str:
            await go.wait()
            return "gone"

        async def go(self) -> None:
            go.set()
"""
PATCHED = """
    from gevent import monkey
    monkey.patch_all()
    import gevent
"""


def need_gevent() -> None:
    if importlib.util.find_spec("gevent") is None:
        missing("no gevent")


def test_calls_events_hooks_and_timeouts_work_and_other_greenlets_go_on(project: Project) -> None:
    need_gevent()
    project.write("bus.py", BUS)
    project.host()
    printed = project.script(
        f"""{PATCHED}
    import lightbus
    import bus as module
    from lightbus.exceptions import LightbusTimeout

    bus = lightbus.create(service_name="shop")
    hooked = []

    @bus.client.before_rpc_call
    def note(rpc_message, **_):
        hooked.append(rpc_message.procedure_name)

    jobs = [gevent.spawn(bus.shop.price, sku="x" * n) for n in range(20)]
    gevent.joinall(jobs)
    print([job.value for job in jobs] == list(range(20)), len(hooked))
    print(bool(bus.shop.sold.fire(sku="cup").id))
    gevent.spawn_later(0.05, bus.shop.go)  # It ends the call that waits.
    print(bus.shop.wait_for_go(bus_options={{"timeout": 60}}))
    try:
        bus.shop.stall(bus_options={{"timeout": 0.5}})
    except LightbusTimeout:
        print("timeout")
    bus.client.close()
    """
    )
    assert printed == "True 20\nTrue\ngone\ntimeout\n"


def test_a_call_works_where_no_other_greenlet_runs(project: Project) -> None:
    """So that nothing but the thread of the bus can go on."""
    need_gevent()
    project.write("bus.py", BUS)
    project.host()
    printed = project.script(
        f"""{PATCHED}
    import lightbus
    from lightbus.exceptions import LightbusTimeout
    bus = lightbus.create()
    print([bus.shop.price(sku="x" * n) for n in range(200)] == list(range(200)))
    try:
        with gevent.Timeout(0.3):
            bus.shop.stall()
    except gevent.Timeout:
        print("given up")
    print(bus.shop.price(sku="cup"))
    try:
        bus.shop.stall(bus_options={{"timeout": 0.5}})
    except LightbusTimeout:
        print("timeout")
    """
    )
    assert printed == "True\ngiven up\n3\ntimeout\n"


def test_a_host_says_that_it_needs_threads(project: Project) -> None:
    need_gevent()
    project.write("bus.py", f"{PATCHED}{BUS}")
    status, output = project.refused(PYTHONPATH="")
    assert status == 78
    assert "gevent has replaced threads, which a host needs: bus, or what it imports" in output


def test_eventlet_is_refused_at_once_with_the_way_out(project: Project) -> None:
    """With what its patcher says; it is not worth being installed, since its authors advise against it."""
    project.write("eventlet/__init__.py", "")
    project.write("eventlet/patcher.py", "def is_monkey_patched(name):\n    return name == 'thread'\n")
    printed = project.script(
        """
    import eventlet.patcher
    import lightbus
    from lightbus.exceptions import ConfigurationError
    try:
        lightbus.create().shop.price(sku="cup")
    except ConfigurationError as e:
        print(e)
    """
    )
    assert "eventlet has replaced threads; call eventlet.monkey_patch(thread=False) instead" in printed
