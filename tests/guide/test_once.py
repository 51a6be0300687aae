"""Effects once: the same event twice, by a publisher that fires again or by a process that is killed."""

from __future__ import annotations

import pytest

from tests.guide.project import Project, printed
from tests.support.eventually import eventually
from tests.support.servers import Server
from tests.support.timers import outlast_leases

BUS = """
    import os, time
    import lightbus
    from lightbus import Api, Event, Parameter

    class ShopApi(Api):
        sold = Event(parameters=(Parameter('order', str),), dedupe=%s)

        class Meta:
            name = 'shop'

    def charge(event_message, order):
        print('charging ' + order + '\\n', end='', flush=True)
        while order == 'slow' and os.path.exists('hold'):
            time.sleep(0.02)
        print('charged ' + order + '\\n', end='', flush=True)

    def before_server_start(bus):
        bus.shop.sold.listen(charge, bus_options={'since': 'earliest'%s})
"""

FIRE = """
    import lightbus
    from bus import ShopApi

    bus = lightbus.create()
    for order, id in (%s):
        print(bus.shop.sold.fire(order=order, bus_options={'id': id}).native_id)
"""

#: A lease ends when a test says so; then another process takes over soon.
LEASES = """
    apis: {default: {event_transport: {redis: {acknowledgement_timeout: 1h, reclaim_interval: 50ms}}}}
    service_name: shop
    modules: [bus]
"""


def test_an_event_with_dedupe_is_stored_once_per_id(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS % ("'10m'", ""))
    again = project.script(FIRE % "('a', '1'), ('a', '1'), ('b', '2')").split()
    assert again[0] == again[1] != again[2]
    assert redis_server.execute("XLEN", "shop.*:stream") == 2


def test_an_event_without_dedupe_is_stored_each_time(project: Project, redis_server: Server) -> None:
    project.write("bus.py", BUS % ("None", ""))
    project.script(FIRE % "('a', '1'), ('a', '1')")
    assert redis_server.execute("XLEN", "shop.*:stream") == 2


@pytest.mark.parametrize(
    ("dedupe", "runs"), [(", 'dedupe': '10m'", 1), (", 'dedupe': '10m', 'concurrency': 8", 1), ("", 3)]
)
def test_a_listener_with_dedupe_handles_an_id_once(project: Project, dedupe: str, runs: int) -> None:
    project.write("bus.py", BUS % ("None", dedupe))
    host = project.host()
    project.script(FIRE % "('a', '1'), ('a', '1'), ('a', '1'), ('end', '2')")
    eventually(lambda: "charged end" in printed(host))
    eventually(lambda: printed(host).count("charged a") >= runs)
    assert printed(host).count("charged a") == runs


def test_an_effect_whose_process_was_killed_before_it_acknowledged_comes_again_and_then_no_more(
    project: Project, redis_server: Server
) -> None:
    project.write("bus.py", BUS % ("None", ", 'dedupe': '10m'"))
    project.write("lightbus.yaml", LEASES)
    hold = project.write("hold", "")
    first = project.host("--process-name", "first")
    project.script(FIRE % "('slow', '1'),")
    eventually(lambda: "charging slow" in printed(first))
    first.kill()
    outlast_leases(redis_server, "shop.*:stream", "shop-charge", "first")
    hold.unlink()
    second = project.host()
    eventually(lambda: "charged slow" in printed(second))
    second.terminate()
    third = project.host()
    project.script(FIRE % "('slow', '1'), ('end', '2')")
    eventually(lambda: "charged end" in printed(third))
    assert "charging slow" not in printed(third)


@pytest.mark.parametrize(
    ("dedupe", "said"),
    [
        ("dedupe='soon'", "Event(dedupe='soon'): give seconds above 0, or text such as '10m'"),
        ("dedupe=0", "Event(dedupe=0): give seconds above 0"),
    ],
)
def test_an_event_whose_dedupe_is_no_time_is_refused(project: Project, dedupe: str, said: str) -> None:
    project.write("bus.py", (BUS % ("None", "")).replace("dedupe=None", dedupe))
    status, log = project.refused()
    assert status != 0
    assert said in log


@pytest.mark.parametrize("dedupe", ["'soon'", "0", "[]"])
def test_a_listener_whose_dedupe_is_no_time_is_refused(project: Project, dedupe: str) -> None:
    project.write("bus.py", BUS % ("None", f", 'dedupe': {dedupe}"))
    status, log = project.refused()
    assert status != 0
    assert f"the listener 'charge': dedupe is {dedupe}; give seconds above 0" in log


def test_an_id_that_cannot_be_one_is_refused_before_anything_is_sent(project: Project) -> None:
    project.write("bus.py", BUS % ("None", ""))
    out = project.script(
        """
    import lightbus
    from bus import ShopApi

    bus = lightbus.create()
    for id in ('', 'x' * 201, 'a\\nb', 7):
        try:
            bus.shop.sold.fire(order='a', bus_options={'id': id})
        except lightbus.exceptions.InvalidParameters as e:
            print(e)
    """
    )
    assert out.count("bus_options: id is") == 4
