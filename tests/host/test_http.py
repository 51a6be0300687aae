"""``http.listen``: health and metrics of a running host."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.servers import Server, free_port

DOCS = Path(__file__).parents[2] / "docs"

MODULE = """
import lightbus, os, time
from lightbus import Api, Backoff, DeliveryPolicy, Event

class ShopApi(Api):
    sold = Event(parameters=("sku",))

    class Meta:
        name = "shop"

    async def price(self, sku: str) -> int:
        if sku == "teapot":
            raise ValueError(sku)
        return len(sku)

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)

    async def block_until(self, file: str) -> None:
        while not os.path.exists(file):
            time.sleep(0.05)

    async def ask(self, sku: str) -> int:
        return await bus.shop.price.call_async(sku=sku)

    async def sell(self, sku: str) -> None:
        await bus.shop.sold.fire_async(sku=sku)

async def count(event, sku: str) -> None:
    if sku == "broken":
        raise ValueError(sku)

def before_server_start(it):
    global bus
    bus = it
    policy = DeliveryPolicy(attempts=3, backoff=Backoff(initial=0.01, jitter=False))
    bus.shop.sold.listen(count, listener_name="count", on_error=policy)
"""


class Pages:
    """The pages of one host."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            request = urllib.request.Request(self.root + path, headers=headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read().decode()

    def problems(self, path: str) -> list[str]:
        """What a page of health finds wrong; its status says the same."""
        status, text = self.get(path)
        problems: list[str] = json.loads(text)["problems"]
        assert status == (503 if problems else 200)
        return problems

    def metrics(self) -> dict[str, float]:
        """Each line of /metrics, by its name and labels."""
        status, text = self.get("/metrics")
        assert status == 200
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def pages(project: Project, redis_server: Server) -> Pages:
    project.write("bus.py", MODULE)
    port = next(p for p in iter(free_port, None) if is_free(p + 1))
    project.env = {
        "LIGHTBUS__BUS__LOG_FORMAT": "text",
        "LIGHTBUS__BUS__REDIS__URL": redis_server.url,
        "LIGHTBUS__HTTP__LISTEN": str(port),
    }
    return Pages(port)


def is_free(port: int) -> bool:
    """Whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_host_that_does_its_work_is_alive_and_ready(project: Project, pages: Pages) -> None:
    project.host("--service-name", "shop")
    assert pages.problems("/livez") == pages.problems("/readyz") == []
    status, text = pages.get("/readyz")
    told = json.loads(text)
    assert (status, told["status"], told["service"]) == (200, "ready", "shop")


def test_only_this_machine_is_listened_to_where_only_a_port_is_given(project: Project, pages: Pages) -> None:
    host = project.host()
    assert f"http://127.0.0.1:{pages.root.rpartition(':')[2]}" in host.output()


def test_other_pages_and_methods_are_refused_in_words(project: Project, pages: Pages) -> None:
    project.host()
    assert pages.get("/")[0] == 404
    assert "/livez, /readyz, /metrics" in pages.get("/etc/passwd")[1]
    request = urllib.request.Request(pages.root + "/livez", method="POST", data=b"")
    with pytest.raises(urllib.error.HTTPError, match="501") as refused:
        urllib.request.urlopen(request, timeout=60)
    refused.value.close()


def test_the_metrics_of_a_run_are_its_numbers(project: Project, pages: Pages) -> None:
    project.host("--service-name", "shop")
    for sku in ("tea", "tea", "coffee"):
        assert project.call("shop.ask", sku=sku) == len(sku)
    for procedure, arguments in (("price", {"sku": "teapot"}), ("price", {"nonsense": 1}), ("nothing", {})):
        with pytest.raises(Exception, match=r"teapot|nonsense|nothing"):
            project.call(f"shop.{procedure}", **arguments)
    for sku in ("fine", "fine", "broken"):
        project.call("shop.sell", sku=sku)

    wanted = {
        'lightbus_rpc_calls_total{api="shop",outcome="ok",procedure="price"}': 3,
        'lightbus_rpc_executions_total{api="shop",outcome="ok",procedure="price"}': 3,
        'lightbus_rpc_executions_total{api="shop",outcome="error",procedure="price"}': 1,
        'lightbus_rpc_executions_seconds_count{api="shop",procedure="ask"}': 3,
        'lightbus_events_fired_total{api="shop",event="sold",outcome="ok"}': 3,
        'lightbus_event_handlings_total{api="shop",event="sold",listener="count",outcome="ok"}': 2,
        'lightbus_event_handlings_total{api="shop",event="sold",listener="count",outcome="retry"}': 2,
        'lightbus_event_handlings_total{api="shop",event="sold",listener="count",outcome="dead_letter"}': 1,
        'lightbus_dead_letters_total{api="shop",event="sold",listener="count",reason="failed"}': 1,
        'lightbus_rpcs_in_flight{api="shop"}': 0,
        'lightbus_listener_lag{listener="count",stream="shop.*:stream"}': 0,
        'lightbus_listener_pending{listener="count",stream="shop.*:stream"}': 0,
        'lightbus_listener_dead_letters{listener="count",stream="shop.*:stream"}': 1,
    }

    def is_so() -> bool:
        found = pages.metrics()
        assert {name: found.get(name) for name in wanted} == wanted
        return True

    eventually(is_so)


def test_runs_of_schedules_are_counted_by_their_outcome(project: Project, pages: Pages) -> None:
    project.write("jobs.py", "def well(): pass\ndef badly(): raise ValueError\n")
    each = "{{every: 50ms, scope: process, call: 'jobs:{0}'}}".format
    project.write("lightbus.yaml", f"schedules: {{well: {each('well')}, badly: {each('badly')}}}")
    project.host()
    runs = 'lightbus_schedule_runs_total{{outcome="{}",schedule="{}"}}'.format
    eventually(
        lambda: (
            pages.metrics().get(runs("ok", "well"), 0) > 1 < pages.metrics().get(runs("error", "badly"), 0)
        )
    )
    assert runs("error", "well") not in pages.metrics()


def test_the_lag_is_what_no_process_has_read(project: Project, pages: Pages) -> None:
    project.write("slow.py", "import asyncio\nasync def stay(event, sku): await asyncio.sleep(60)\n")
    project.write(
        "lightbus.yaml",
        "bus: {drain_timeout: 0s}\n"
        "listeners: {slow: {events: [shop.sold], handler: 'slow:stay', concurrency: 2}}",
    )
    project.host("--service-name", "shop")
    for _ in range(5):
        project.call("shop.sell", sku="fine")
    labels = '{listener="slow",stream="shop.*:stream"}'
    kinds = ("lag", "pending")
    eventually(
        lambda: (
            [pages.metrics()[f"lightbus_listener_{kind}{labels}"] for kind in kinds] == [3, 2]
            and pages.metrics()['lightbus_events_in_flight{listener="slow"}'] == 2
        )
    )


def test_the_last_run_of_a_schedule_and_the_version_are_told(
    project: Project, pages: Pages, redis_server: Server
) -> None:
    project.write("jobs.py", "def tidy(): ...\ndef close(): raise ValueError('no')\n")
    tidy, close, late = (
        f"{name}: {{every: {every}, call: 'jobs:{call}'}}"
        for name, every, call in (("tidy", "1s", "tidy"), ("close", "1s", "close"), ("late", "1h", "tidy"))
    )
    about = "service_name: shop\nservice_version: '3.2'\n"
    project.write("lightbus.yaml", f"{about}schedules: {{{tidy}, {close}, {late}}}\n")
    redis_server.execute("HSET", "lightbus:paused:shop", "schedule:late", "{}")
    begun = time.time()
    project.host()

    def of(name: str, schedule: str) -> float | None:
        return pages.metrics().get(f'lightbus_schedule_{name}{{schedule="{schedule}"}}')

    eventually(lambda: (of("last_failed", "tidy"), of("last_failed", "close")) == (0, 1))
    last, due = of("last_start_timestamp_seconds", "tidy"), of("next_timestamp_seconds", "late")
    assert last is not None and begun <= last <= time.time()
    assert due is not None and due > begun and 0 <= (of("last_duration_seconds", "tidy") or 0) < 60
    assert of("last_start_timestamp_seconds", "late") is None and of("running", "late") == 0
    assert (of("paused", "late"), of("paused", "tidy")) == (1, 0)
    assert any('application="3.2"' in name for name in pages.metrics() if name.startswith("lightbus_info"))


def test_a_call_that_is_no_message_is_counted(project: Project, pages: Pages, redis_server: Server) -> None:
    project.host()
    redis_server.execute("RPUSH", "shop:rpc_queue", "nonsense")
    name = 'lightbus_messages_refused_total{place="shop:rpc_queue"}'
    eventually(lambda: pages.metrics().get(name) == 1)


def test_prometheus_may_ask_for_its_newer_format(project: Project, pages: Pages) -> None:
    project.host()
    status, text = pages.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=x",
        "application/openmetrics-text;version=;q=,;=",
        "text/plain;version=1.0.0;escaping=nonsense",
        "*/*;" * 200,
    ],
)
def test_whoever_asks_oddly_for_metrics_gets_them(project: Project, pages: Pages, accept: str) -> None:
    host = project.host()
    status, text = pages.get("/metrics", Accept=accept)
    assert status == 200 and "lightbus_info{" in text
    assert "Traceback" not in host.output()


def test_a_blocked_loop_is_named_with_file_and_line_and_lives_until_its_own_limit(
    project: Project, pages: Pages
) -> None:
    host = project.host("--set", "http.dead_after=10s", "--set", "http.blocked_after=1s")
    assert pages.problems("/readyz") == []
    line = next(n for n, text in enumerate(MODULE.lstrip("\n").splitlines(), 1) if "time.sleep(0.05)" in text)
    project.start("call", "shop.block_until", "file=go")
    (told,) = eventually(lambda: pages.problems("/readyz"))
    assert re.search(rf"blocked for [\d.]+ s by .*bus\.py:({line - 1}|{line}) in ShopApi\.block_until", told)
    assert pages.problems("/livez") == []
    (deadly,) = eventually(lambda: pages.problems("/livez"))
    assert "bus.py" in deadly
    project.write("go", "")
    eventually(lambda: not pages.problems("/livez") and not pages.problems("/readyz"))
    assert host.status is None


HALF_BLOCKED = MODULE.replace(
    "        time.sleep(seconds)", "        time.sleep(2)\n        print('half')\n        time.sleep(60)"
)


def test_the_first_who_asks_learns_of_a_loop_that_is_blocked_already(project: Project, pages: Pages) -> None:
    project.write("bus.py", HALF_BLOCKED)
    host = project.host("--set", "http.blocked_after=1s")
    project.start("call", "shop.block", "seconds=0")
    host.wait_for_line("half")
    (told,) = pages.problems("/readyz")
    assert "in ShopApi.block" in told


def test_what_blocks_the_loop_at_the_start_is_named_too(project: Project, pages: Pages) -> None:
    project.write(
        "bus.py",
        MODULE.replace("def before_s", "async def before_s")
        + "    time.sleep(2)\n    print('half')\n    time.sleep(60)\n",
    )
    host = project.start("run", "--set", "http.blocked_after=1s")
    host.wait_for_line("half")
    (told,) = pages.problems("/readyz")
    assert "in before_server_start" in told


AS_A_PACKAGE = """
import sysconfig

path = sysconfig.get_path
sysconfig.get_path = lambda name: {packages!r} if name == "purelib" else path(name)

from lightbus.cli import main

main(["run", "--bus", "shop", "--set", "http.blocked_after=1s"])
"""


def test_of_a_service_that_is_installed_as_a_package_its_own_line_is_named(
    project: Project, pages: Pages
) -> None:
    module = project.write("packages/shop.py", HALF_BLOCKED)
    project.write("run.py", AS_A_PACKAGE.format(packages=str(module.parent)))
    host = project.program("run.py", PYTHONPATH=str(module.parent))
    host.wait_for_line("ready")
    project.start("call", "shop.block", "seconds=0")
    host.wait_for_line("half")
    (told,) = pages.problems("/readyz")
    assert f"{module}:" in told


def test_without_its_extra_both_check_and_run_say_what_to_install(project: Project, pages: Pages) -> None:
    project.write("lightbus.yaml", "http: {listen: 8099}")
    project.write("prometheus_client.py", "raise ImportError('not installed')")
    del project.env["LIGHTBUS__HTTP__LISTEN"]
    for command in (["run"], ["check", "--imports"]):
        done = project.python("-m", "lightbus", *command)
        assert done.returncode == 78
        assert (
            "lightbus.yaml:1:16  http.listen: the server of health and metrics needs"
            in done.stdout + done.stderr
        )
        assert "pip install 'lightbus[http]'" in done.stdout + done.stderr


def test_without_redis_a_host_lives_and_is_not_ready(
    project: Project, pages: Pages, redis_server: Server
) -> None:
    project.host()
    redis_server.kill()
    told = eventually(lambda: len(found := pages.problems("/readyz")) == 3 and found)
    assert told
    assert told[0].startswith("commands don't reach Redis: ")
    assert told[1].startswith("the API shop takes no calls: ")
    assert told[2].startswith("the listener count reads no events: ")
    assert pages.problems("/livez") == []
    redis_server.start()
    eventually(lambda: pages.problems("/readyz") == [])
    (reconnects,) = (n for name, n in pages.metrics().items() if name.startswith("lightbus_reconnects_total"))
    assert reconnects >= 1


def test_a_listener_that_its_policy_has_stopped_is_named(project: Project, pages: Pages) -> None:
    project.write("bus.py", MODULE.replace("on_error=policy", "on_error=lightbus.OnError.STOP_LISTENER"))
    project.host()
    project.call("shop.sell", sku="broken")
    (told,) = eventually(lambda: pages.problems("/readyz"))
    assert told.startswith("the listener count reads no events: its policy has stopped it")
    assert pages.problems("/livez") == []


def test_a_host_that_waits_for_redis_says_that_it_is_starting(
    project: Project, pages: Pages, redis_server: Server
) -> None:
    redis_server.stop()
    project.start("run")
    eventually(lambda: _answers(pages))
    eventually(lambda: ": Redis at " in pages.problems("/readyz")[0])
    assert pages.problems("/readyz")[0].startswith("the host is starting")
    assert pages.problems("/livez") == []
    redis_server.start()
    eventually(lambda: pages.problems("/readyz") == [])


def test_reloads_are_counted_by_their_outcome(project: Project, pages: Pages) -> None:
    manifest = project.write("lightbus.yaml", "bus: {log_level: info}")
    host = project.host()
    for text, line in (("bus: {log_level: debug}", "was applied"), ("buss: {}", "was not applied")):
        manifest.write_text(text)
        os.kill(host.pid, signal.SIGHUP)
        host.wait_for_line(line)
    eventually(
        lambda: (
            {
                outcome: pages.metrics().get(f'lightbus_reloads_total{{outcome="{outcome}"}}')
                for outcome in ("applied", "refused")
            }
            == {"applied": 1, "refused": 1}
        )
    )


def test_a_taken_port_is_a_wrong_configuration(project: Project, pages: Pages) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        project.write("lightbus.yaml", f"http:\n  listen: 127.0.0.1:{port}\n")
        del project.env["LIGHTBUS__HTTP__LISTEN"]
        status, said = project.refused()
    assert status == 78
    assert f"lightbus.yaml:2:11  http.listen: can't listen at 127.0.0.1:{port}" in said
    assert "choose another port" in said


def test_clients_that_take_their_time_do_not_keep_a_probe_out(project: Project, pages: Pages) -> None:
    project.host()
    port = int(pages.root.rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        assert [pages.get(page)[0] for page in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]


def test_many_readings_of_metrics_that_wait_for_redis_leave_room_for_probes(
    project: Project, pages: Pages, redis_server: Server
) -> None:
    project.host()
    redis_server.pause()
    try:
        with ThreadPoolExecutor(30) as readers:
            readings = [readers.submit(pages.get, "/metrics") for _ in range(30)]
            assert [pages.get("/livez")[0] for _ in range(5)] == [200] * 5
            assert {reading.result()[0] for reading in readings} == {200, 503}
    finally:
        redis_server.resume()


def test_each_of_several_processes_has_a_port_of_its_own(project: Project, pages: Pages) -> None:
    supervisor: Process = project.start("run", "--set", "processes=2")
    eventually(lambda: supervisor.output().count("ready: ") == 2)
    port = int(pages.root.rpartition(":")[2])
    names = {json.loads(Pages(port + n).get("/readyz")[1])["process"] for n in (0, 1)}
    assert len(names) == 2


def _answers(pages: Pages) -> bool:
    try:
        return pages.get("/livez")[0] == 200
    except urllib.error.URLError:
        return False


def test_the_pages_of_the_docs_name_every_metric_and_no_other(project: Project, pages: Pages) -> None:
    project.host()
    text = pages.get("/metrics")[1]
    served = set(re.findall(r"^# HELP (\w+)", text, re.MULTILINE))
    told = set(re.findall(r"^\| `(lightbus_\w+)`", (DOCS / "reference/metrics.md").read_text(), re.MULTILINE))
    assert told == served
    for page in ("grafana/lightbus.json", "how-to/metrics.md"):
        used = re.findall(
            r"lightbus_(?:rpc|event|listener|dead|reload|reconnect|data)\w*", (DOCS / page).read_text()
        )
        assert {re.sub("_bucket$", "", name) for name in used} <= served


BROKEN = """
from lightbus.host.http.health import Health

def break_once(self, watch=Health.watch):
    Health.watch = watch
    raise RuntimeError("it broke")

Health.watch = break_once
"""


def test_the_server_of_the_pages_survives_whatever_happens_in_it(project: Project, pages: Pages) -> None:
    project.write("bus.py", MODULE + BROKEN)
    host = project.host()
    eventually(lambda: "the server of health and metrics failed; it goes on" in host.output())
    eventually(lambda: pages.problems("/readyz") == [])
