"""What is there when the reader of a page gives its commands, and what they do: one scene for each page."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping

from tests.guide.test_plugins_page import write_plugin
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

from .console import Console

STREAM = "auth.*:stream"
DEAD = f"{{{STREAM}}}:dead:shop-mailer"
#: The id of a dead letter on the pages.
LETTER = "1764000000000-0"
BUS = """\
from pathlib import Path
from lightbus import Api, Event


class AuthApi(Api):
    user_registered = Event(parameters=("username", "email"))

    class Meta:
        name = "auth"

    def check_password(self, username, password):
        return password == "secret"


def send(event_message, username, email):
    if not Path("mended").exists():
        raise ConnectionRefusedError("the mail server is away")
    print(f"sent to {username}", flush=True)
"""
LISTENING = """\
service_name: shop
policies: {once: {attempts: 1}}
listeners:
  mailer: {events: [auth.user_registered], handler: bus:send, on_error: once}
"""


def dead_letters(console: Console) -> None:
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", LISTENING)
    host = console.host()
    old = _dead_letter(console, "Ada")
    _put_aside_long_ago(console, old)
    _dead_letter(console, "Bob", letters=2)
    console.next(LETTER, "2 dead letters")
    assert LETTER not in console.next("1 dead letter")
    console.next("Ada", "the mail server is away")
    assert console.next("would be replayed", LETTER).count("would be") == 2
    (console.folder / "mended").touch()
    console.next("replayed", LETTER)
    for name in ("Ada", "Bob"):
        host.wait_for_line(f"sent to {name}")
    _put_aside_long_ago(console, old)
    console.env |= {"EDITOR": "sed -i s/Ada/Eve/"}
    console.next("edited and replayed", LETTER, answer="")
    host.wait_for_line("sent to Eve")
    console.server.execute("XADD", STREAM, "*", "nonsense", "1")
    eventually(lambda: console.server.execute("XLEN", DEAD) == 1, 30, "a message that can't be read")
    console.next("Drop 1 dead letter for good?", "dropped", answer="y")
    _put_aside_long_ago(console, old)
    console.next("Drop 1 dead letter for good?", "dropped", answer="y")
    assert console.server.execute("XLEN", DEAD) == 0
    assert host.terminate() == 0


def _dead_letter(console: Console, username: str, letters: int = 1) -> list[bytes]:
    """Have an event put aside; returns the fields of its letter."""
    console.fire(username)
    eventually(lambda: console.server.execute("XLEN", DEAD) == letters, 30, "a dead letter")
    ((_, fields),) = console.server.execute("XREVRANGE", DEAD, "+", "-", "COUNT", 1)
    return list(fields)


def _put_aside_long_ago(console: Console, fields: list[bytes]) -> None:
    console.server.execute("DEL", DEAD)
    console.server.execute("XADD", DEAD, LETTER, *fields)


def rename_listeners(console: Console) -> None:
    _groups(console, "shop-old", "shop-welcome")
    console.next("shop-old", "shop-welcome", "2 groups")
    console.next("3 unread")
    console.next("moved: shop-welcome to shop-greet", answer="y")
    console.next("the oldest that is there", answer="y")
    console.next("the oldest that is there", answer="y")
    console.next("3 unread events never run", answer="y")
    console.next("would be removed: shop-old")
    console.next("removed: shop-old", answer="y")
    _group(console, "shop-old")
    console.next("removed: shop-old")
    console.do("lightbus group rm shop-greet --yes")
    _group(console, "shop-welcome")
    console.put("lightbus.yaml", f"service_name: shop\n{console.yaml('renamed_from')}")
    console.put("shop/mail.py", "def greet(event_message, username, email):\n    print('hello', username)\n")
    with console.host() as host:
        for name in ("ada", "bob", "eve"):
            host.wait_for_line(f"hello {name}")
        assert host.terminate() == 0


def listeners_that_are_gone(console: Console) -> None:
    _groups(console, "shop-old")
    console.next("moved: shop-old to shop-new", answer="y")
    _group(console, "shop-old")
    console.next("removed: shop-old", answer="y")


def pause_listeners(console: Console) -> None:
    console.put("bus.py", BUS.replace('not Path("mended").exists()', "False"))
    console.put(
        "lightbus.yaml",
        LISTENING.replace("mailer:", "send:").replace("service_name: shop", "service_name: mailer"),
    )
    with console.host() as host:
        console.next("paused: mailer-send until")
        console.fire("ada")
        console.next("resumed: mailer-send")
        host.wait_for_line("sent to ada")
        assert host.terminate() == 0


def audit(console: Console) -> None:
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", LISTENING)
    host = console.host()
    _dead_letter(console, "Ada")
    (console.folder / "mended").touch()
    console.next("replayed")
    console.next("done", "dlq.replay", "mailer", "the mail server is back")
    assert '"reason": "the mail server is back"' in console.next('"action": "dlq.replay"')
    console.next("nobody has done anything that fits")
    assert host.terminate() == 0


def schedules(console: Console) -> None:
    console.put("jobs.py", "def close():\n    pass\n")
    schedule = "{close_the_day: {cron: '0 2 * * *', call: 'jobs:close'}}"
    allowed = console.yaml("remote_control")
    console.put("lightbus.yaml", f"service_name: shop\nmodules: []\n{allowed}schedules: {schedule}\n")
    with console.host() as host:
        console.next("done: shop:close_the_day")
        console.next("paused: shop:close_the_day until 2")
        console.next("resumed: shop:close_the_day")
        assert host.terminate() == 0


def _groups(console: Console, *names: str) -> None:
    """Fire three events that nobody has read as these groups."""
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", "service_name: shop\n")
    for name in ("ada", "bob", "eve"):
        console.fire(name)
    for name in names:
        _group(console, name)


def _group(console: Console, name: str) -> None:
    console.server.execute("XGROUP", "CREATE", STREAM, name, "0")


def doctor(console: Console) -> None:
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", LISTENING)
    with _safe_redis(console):
        printed = console.next("exit status 0")
    checks = re.findall(r"[✓+] ok (\w+)", printed)
    named = re.findall(r"^\| `(\w+)` \|", console.page.read_text(), re.MULTILINE)
    assert checks == named, printed


def plan(console: Console) -> None:
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", LISTENING)
    with console.host() as host:
        console.next("shop: nothing changes")
        assert host.terminate() == 0
    console.put("config/lightbus.yaml", LISTENING.replace("mailer", "sender"))
    console.fire("Ada")
    console.next("lightbus group move shop-mailer shop-sender", "DANGER", status=1)


def troubleshooting(console: Console) -> None:
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", LISTENING)
    with _safe_redis(console), console.host() as host:
        console.next("exit status 0")
        console.next("shop-mailer")
        console.next("0 dead letters")
        assert host.terminate() == 0


@contextlib.contextmanager
def _safe_redis(console: Console) -> Iterator[None]:
    """Give the commands a Redis that keeps what it has, of which there is nothing to say."""
    with Server("valkey", aof=True) as safe:
        console.env["LIGHTBUS__BUS__REDIS__URL"] = safe.url
        yield


def contracts(console: Console) -> None:
    console.put("bus.py", BUS)
    console.next()
    assert (console.folder / "schemas" / "auth.json").exists()
    console.next()


TYPED = """
from enum import Enum
from lightbus import Api


class Kind(Enum):
    GUEST = "guest"


class AuthApi(Api):
    class Meta:
        name = "auth"

    def find(self, kind: Kind | None = None) -> list[str]:
        return []


class OrdersApi(Api):
    class Meta:
        name = "shop.orders"
"""


def typed_clients(console: Console) -> None:
    console.put("bus.py", TYPED)
    console.host()
    console.next("wrote shop/bus_types.py: 2 APIs")
    console.next("wrote contracts/auth.json", "wrote contracts/shop.orders.json")
    console.put("lightbus.yaml", console.yaml("from: contracts/"))
    console.next("as it would be written: shop/bus_types.py")
    console.next("as it would be written: shop/bus_types.py", "since contracts/: 0 differences")
    console.next("0 differences")


GRAPH = """
service_name: shop
modules: [bus]
apis: {shop.orders: {owner: shop}, auth: {owner: shop}}
"""


def graph(console: Console) -> None:
    console.put("bus.py", TYPED)
    console.put("shop.yaml", GRAPH)
    console.put("web.yaml", console.yaml("calls: [auth"))
    console.put("lightbus.yaml", GRAPH)
    console.host()
    console.next("flowchart LR", "shop.orders")
    console.next("wrote bus.svg")
    console.next("flowchart LR", "place")
    console.next("flowchart LR")
    console.next("web is declared, but none of its processes is on the bus", "1 difference", status=1)


def export(console: Console) -> None:
    console.put("config/service.yaml", f"{LISTENING}http: {{listen: '0.0.0.0:8099'}}\n")
    console.put("config/environments/production.yaml", "bus: {redis: {url: '${REDIS_URL}'}}\n")
    console.put("lightbus.yaml", f"{LISTENING}http: {{listen: '0.0.0.0:8099'}}\n")
    console.env.pop("LIGHTBUS__BUS__REDIS__URL")
    in_deploy = ("deploy/kubernetes.yaml", "deploy/keda.yaml")
    for file in ("deploy/shop.service", "Dockerfile", "compose.yaml", *in_deploy):
        console.next(file)
        assert (console.folder / file).exists()
    console.next()
    console.put("lightbus.yaml", LISTENING)
    wanted = console.left[0].output
    printed = console.next(status=78)
    assert printed == wanted


def metrics(console: Console) -> None:
    console.put("bus.py", BLOCKING)
    port = free_port()
    listening = console.yaml("http:").replace("8099", str(port))
    console.put("lightbus.yaml", f"service_name: shop\nprocess_name: web-1\n{listening}")
    with console.host() as host:
        _curl(console, port)
        calling = console.start("lightbus call shop.report --timeout 30")
        _curl(console, port)
        assert calling.wait() == 0
        assert host.terminate() == 0


BLOCKING = """\
import time
from lightbus import Api


class ShopApi(Api):
    class Meta:
        name = "shop"

    async def report(self):
        time.sleep(4)
"""


def _curl(console: Console, port: int) -> None:
    """Ask as the page does, until the answer is that of the page, but for numbers and places."""
    each = console.take()
    assert each.output is not None
    command, wanted = each.command.replace("8099", str(port)), _without_places(each.output)
    eventually(lambda: _without_places(console.do(command).stdout) == wanted, 30, wanted)


def _without_places(answer: str) -> str:
    return re.sub(r"web-[\d-]+|/[\w/.-]*/|[\d.]+| +", "", answer.strip())


def tracing(console: Console) -> None:
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", console.yaml("tracing:"))
    # There is no collector here.
    console.env |= {f"OTEL_{kind}_EXPORTER": "none" for kind in ("METRICS", "LOGS")}
    console.env["OTEL_TRACES_EXPORTER"] = "console"
    variable, _, command = console.take().command.partition(" ")
    name, _, value = variable.partition("=")
    console.env[name] = value
    with console.host(command) as host:
        assert console.do("lightbus call auth.check_password username=a password=secret").stdout == "true\n"
        host.wait_for_line('"name": "auth/check_password"')
        assert host.terminate() == 0
        assert '"service.name": "auth"' in host.output()


def deployment(console: Console) -> None:
    console.put("password", "secret")
    password = str(console.folder / "password")
    production = console.yaml("# production.yaml").replace("/etc/shop/redis_password", password)
    console.put("production.yaml", production)
    console.put("bus.py", BUS)
    console.put("lightbus.yaml", LISTENING)
    console.env.pop("LIGHTBUS__BUS__REDIS__URL")
    with Server("valkey", password="secret") as locked:
        url = f"redis://127.0.0.1:{locked.port}/0"
        console.env |= {"REDIS_URL": url, "LIGHTBUS__HTTP__LISTEN": str(free_port())}
        assert console.start_next().terminate() == 0


def acl(console: Console) -> None:
    """Each service with the user that the command writes for it, as both checks judge that."""
    console.put("shop_bus.py", SHOP_BUS)
    console.put("mail.py", "def send(event_message): ...\n")
    names = ("shop", "mailer", "web")
    for name in names:
        manifest = console.yaml(f"# {name}.yaml").replace("redis://redis:6379/0", console.server.url)
        # Here it has no replicas.
        console.put(
            f"{name}.yaml", manifest.replace("replicas_before_confirmed: 1", "replicas_before_confirmed: 0")
        )
    for name in (*names, "ops"):
        console.put(f"secrets/{name}", f"{name}-secret\n")
    del console.env["LIGHTBUS__BUS__REDIS__URL"]
    console.next()
    for line in (console.folder / "users.acl").read_text().splitlines()[1:]:
        console.server.execute("ACL", "SETUSER", *line.split()[1:])
    console.next("allows the user 'web' all that it needs: it ")
    for name in names:
        console.env["LIGHTBUS_CONFIG"] = f"{name}.yaml"
        console.do("lightbus check --imports --connect")
    console.server.execute("ACL", "SETUSER", "mailer", "clearselectors")
    console.env["LIGHTBUS_CONFIG"] = "mailer.yaml"
    printed = console.refused("lightbus check --imports --connect")
    assert "the user 'mailer'" in printed and "may not use" in printed, printed


SHOP_BUS = """\
from lightbus import Api, Event


class OrdersApi(Api):
    placed = Event()

    class Meta:
        name = "shop.orders"

    def place(self) -> int:
        return 1


def close(): ...
"""


def plugins(console: Console) -> None:
    write_plugin(console.put)
    # In place of an installation.
    console.env["PYTHONPATH"] = os.pathsep.join([str(console.folder), console.env.get("PYTHONPATH", "")])
    console.put("bus.py", GREETING)
    with console.host() as host:
        assert "plugins: audit" in host.output()
        assert console.do("lightbus call auth.greet name=Ada").stdout == '"Hello Ada"\n'
        assert host.terminate() == 0
    assert (console.folder / "calls.log").read_text().endswith(" auth.greet done\n")
    assert "1 passed" in console.do("pytest -q -p no:cacheprovider test_audit.py").stdout


GREETING = """\
from lightbus import Api


class AuthApi(Api):
    class Meta:
        name = "auth"

    def greet(self, name: str) -> str:
        return f"Hello {name}"
"""

SCENES: Mapping[str, Callable[[Console], None]] = {
    f"how-to/{name}.md": scene
    for name, scene in {
        "acl": acl,
        "contracts": contracts,
        "dead-letters": dead_letters,
        "deployment": deployment,
        "doctor": doctor,
        "export": export,
        "graph": graph,
        "listeners-that-are-gone": listeners_that_are_gone,
        "audit": audit,
        "pause-listeners": pause_listeners,
        "schedules": schedules,
        "metrics": metrics,
        "plan": plan,
        "plugins": plugins,
        "rename-listeners": rename_listeners,
        "tracing": tracing,
        "troubleshooting": troubleshooting,
        "typed-clients": typed_clients,
    }.items()
}
