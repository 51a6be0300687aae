"""``lightbus check``: everything that is wrong, each thing once, where the manifest has it."""

from __future__ import annotations

import json
import resource
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.manifest.load import load
from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.servers import Server, free_port

MODULE = """
import lightbus

class A(lightbus.Api):
    sold = lightbus.Event(parameters=("sku",))

    class Meta:
        name = "a"

def handle(event, sku): ...
def narrow(event): ...
def job(): ...
def needs(argument): ...
class Wrong(Exception): ...
"""

SIX = """\
servce_name: a
modules: [bus]
apis:
  a: {owner: shop, rpc_timeout: soon}
listeners:
  one: {events: [a.sold], handler: bus:handle, on_error: stubborn}
  two: {events: nonsense, handler: bus.handle}
bus:
  log_level: loud
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("bus.py", MODULE)
    return project


def test_six_mistakes_are_six_located_lines(shop: Project) -> None:
    shop.write("lightbus.yaml", SIX)
    done = shop.run("check")
    lines = done.stdout.splitlines()
    assert done.returncode == 78 and done.stderr == "" and lines[-1] == "6 problems"
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        "lightbus.yaml:1:1  servce_name",
        "lightbus.yaml:4:33  apis.a.rpc_timeout",
        "lightbus.yaml:6:58  listeners.one.on_error",
        "lightbus.yaml:7:17  listeners.two.events",
        "lightbus.yaml:7:36  listeners.two.handler",
        "lightbus.yaml:9:14  bus.log_level",
    ]
    assert 'did you mean "service_name"?' in lines[0]


def test_run_says_the_same_and_takes_nothing(shop: Project) -> None:
    shop.write("lightbus.yaml", SIX)
    checked = shop.run("check").stdout.splitlines()[:-1]
    ran = shop.run("run")
    assert ran.returncode == 78 and ran.stderr.splitlines() == checked


def test_machines_get_json_and_annotations(shop: Project) -> None:
    shop.write("lightbus.yaml", SIX)
    first = json.loads(shop.run("check", "--format", "json").stdout)[0]
    assert first == {
        "severity": "error",
        "source": "lightbus.yaml",
        "line": 1,
        "column": 1,
        "path": "servce_name",
        "message": 'unknown key; did you mean "service_name"?',
    }
    github = shop.run("check", "--format", "github")
    assert github.returncode == 78
    assert github.stdout.startswith("::error file=lightbus.yaml,line=1,col=1::servce_name: unknown key")


def test_a_good_manifest_has_no_problems(shop: Project, redis_server: Server) -> None:
    shop.write("lightbus.yaml", f"service_name: a\nbus: {{redis: {{url: '{redis_server.url}'}}}}")
    done = shop.run("check", "--imports")
    said = "no problems in lightbus.yaml; Redis was not asked (--connect)\n"
    assert (done.returncode, done.stdout) == (0, said)
    assert json.loads(shop.run("check", "--format", "json").stdout) == []


def test_without_options_nothing_is_imported_and_nobody_is_asked(shop: Project) -> None:
    shop.write("bus.py", "raise AssertionError('imported')")
    shop.write("lightbus.yaml", "bus: {redis: {url: 'redis://127.0.0.1:1/0'}}")
    assert shop.run("check").returncode == 0
    assert "imported" in shop.run("check", "--imports").stdout
    assert "can't be reached" in shop.run("check", "--connect").stdout


def test_imports_find_what_the_code_does_not_have(shop: Project) -> None:
    shop.write(
        "lightbus.yaml",
        """
        service_name: s
        modules: [bus, nothere]
        policies:
          p: {give_up_on: [ValueError, bus:Wrong, bus:Missing, bus:job]}
        listeners:
          gone: {events: [a.sold], handler: bus:handel}
          narrow: {events: [a.sold], handler: bus:narrow}
          unknown: {events: [a.sold, a.bought], handler: bus:handle}
          fine: {events: ["a.*", other.thing], handler: bus:handle, on_error: p}
        schedules:
          gone: {every: 1s, call: bus:jab}
          needy: {every: 1s, call: bus:needs}
        """,
    )
    done = shop.run("check", "--imports")
    found = done.stdout.splitlines()
    expected = [
        "lightbus.yaml:2:16  modules: there is no module 'nothere'",
        "lightbus.yaml:4:43  policies.p.give_up_on: bus has no 'Missing'",
        "lightbus.yaml:4:56  policies.p.give_up_on: bus:job is no exception type",
        "lightbus.yaml:6:37  listeners.gone.handler: bus has no 'handel'; did you mean \"handle\"?",
        "lightbus.yaml:7:39  listeners.narrow.handler: ",
        "lightbus.yaml:8:30  listeners.unknown.events: the API 'a' has no event 'bought'; it has: sold",
        "lightbus.yaml:11:27  schedules.gone.call: bus has no 'jab'; did you mean \"job\"?",
        "lightbus.yaml:12:28  schedules.needy.call: bus:needs is called without arguments",
    ]
    assert done.returncode == 78 and len(found) == len(expected) + 1, done.stdout
    for line, start in zip(found, expected, strict=False):
        assert line.startswith(start)
    assert "lacks sku" in found[4] and "write: def narrow(event_message, sku)" in found[4]


def test_whoever_names_the_file_of_a_module_is_told_its_name(shop: Project) -> None:
    shop.write("lightbus.yaml", "{service_name: s, modules: [bus.py]}")
    (told, _) = shop.run("check", "--imports").stdout.splitlines()
    assert told.endswith(f"there is no module 'bus.py' in {shop.folder}; modules are named without .py: bus")


@pytest.mark.parametrize("code", [None, "import nowhere"], ids=["not there", "raises"])
def test_a_bus_module_that_can_not_be_imported_is_told_once(shop: Project, code: str | None) -> None:
    (shop.folder / "bus.py").unlink()
    if code is not None:
        shop.write("bus.py", code)
    shop.write(
        "lightbus.yaml",
        """
        service_name: s
        policies: {p: {give_up_on: [bus:Wrong]}}
        listeners: {mails: {events: [a.sold], handler: bus:handle, on_error: p}}
        schedules: {nightly: {every: 1s, call: bus:job}}
        """,
    )
    told, summary = shop.run("check", "--imports").stdout.splitlines()
    assert "there is no module 'bus'" in told if code is None else "bus.py:1: importing the module" in told
    assert summary.startswith("1 problem")


def test_an_api_that_nobody_defines_is_warned_of(shop: Project) -> None:
    shop.write("lightbus.yaml", "service_name: s\napis: {a: {owner: s}, b: {owner: s}}")
    done = shop.run("check", "--imports")
    assert done.returncode == 0
    assert "lightbus.yaml:2:34  warning: apis.b.owner: this service owns the API, but bus" in done.stdout


def test_two_hundred_apis_take_no_time(shop: Project) -> None:
    apis = "\n".join(
        f"  api{n}: {{owner: s{n}, event_transport: {{redis: {{batch_size: {n}}}}}}}" for n in range(1, 201)
    )
    shop.write("lightbus.yaml", f"service_name: s\napis:\n{apis}\n")
    assert min(_seconds(shop, "check") for _ in range(3)) < 0.5


def _seconds(project: Project, *args: str) -> float:
    """How long the processor works for a command, its start included; others may run meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert project.run(*args).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


# --connect


def connect(project: Project, text: str) -> tuple[int, list[str]]:
    project.write("lightbus.yaml", text)
    done = project.run("check", "--connect")
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()[:-1]


def test_a_redis_that_does_not_answer(project: Project) -> None:
    status, lines = connect(project, f"bus:\n  redis:\n    url: redis://127.0.0.1:{free_port()}/0\n")
    assert status == 78 and len(lines) == 1
    assert lines[0].startswith("lightbus.yaml:3:10  bus.redis.url: Redis at 127.0.0.1:")
    assert "can't be reached" in lines[0]


def test_each_redis_is_asked_once_and_named_where_it_is_configured(
    project: Project, redis_server: Server
) -> None:
    dead = free_port()
    status, lines = connect(
        project,
        f"bus: {{redis: {{url: '{redis_server.url}'}}}}\n"
        f"apis:\n  a: {{}}\n  b:\n    redis: {{url: 'redis://127.0.0.1:{dead}/0'}}\n"
        f"  c:\n    rpc_transport:\n      redis: {{url: 'redis://127.0.0.1:{dead}/1'}}\n",
    )
    errors = [line for line in lines if "warning" not in line]
    assert status == 78 and [line.partition(": ")[0] for line in errors] == [
        "lightbus.yaml:5:18  apis.b.redis.url",
        "lightbus.yaml:8:20  apis.c.rpc_transport.redis.url",
    ]


def test_the_redis_of_answers_is_asked_too(project: Project, start_server: StartServer) -> None:
    calls, answers, dead = start_server(aof=True), start_server(), free_port()
    text = f"bus: {{redis: {{url: '{calls.url}'}}}}\napis:\n  a:\n    result_transport:\n      redis: "
    assert connect(project, f"{text}{{url: '{answers.url}'}}\n") == (0, [])
    status, lines = connect(project, f"{text}{{url: 'redis://127.0.0.1:{dead}/0'}}\n")
    assert status == 78 and len(lines) == 1
    assert lines[0].startswith("lightbus.yaml:5:20  apis.a.result_transport.redis.url: Redis at 127.0.0.1:")


def test_a_wrong_password_is_not_repeated(project: Project, start_server: StartServer) -> None:
    server = start_server(password="right-s3cret")
    status, lines = connect(
        project, f"bus: {{redis: {{url: 'redis://127.0.0.1:{server.port}', password: wrong-s3cret}}}}"
    )
    assert status == 78 and len(lines) == 1
    assert "refused the password or user" in lines[0] and "s3cret" not in lines[0]


def test_memory_that_evicts_and_no_persistence_are_warned_of(
    project: Project, start_server: StartServer
) -> None:
    server = start_server(args=("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"))
    text = f"service_name: s\nbus: {{redis: {{url: '{server.url}'}}}}"
    status, lines = connect(project, text)
    assert status == 0 and len(lines) == 2
    assert "warning: bus.redis.url" in lines[0] and "maxmemory-policy allkeys-lru" in lines[0]
    assert "events that fire() has confirmed" in lines[0] and "noeviction" in lines[0]
    assert "writes nothing to disk" in lines[1] and "appendonly yes" in lines[1]
    project.write("bus.py", MODULE)
    project.write("lightbus.yaml", text)
    host = project.host()
    assert "maxmemory-policy allkeys-lru" in host.output() and "writes nothing to disk" in host.output()


def test_a_redis_as_it_comes_is_noted_in_one_line(project: Project, start_server: StartServer) -> None:
    server = start_server(args=("--save", "3600 1 300 100 60 10000"))
    text = f"service_name: s\nbus: {{redis: {{url: '{server.url}'}}}}"
    status, (line,) = connect(project, text)
    assert status == 0 and "note: bus.redis.url" in line and "writes to disk only now and then" in line
    project.write("bus.py", MODULE)
    project.write("lightbus.yaml", text)
    host = project.host()
    (told,) = [each for each in host.output().splitlines() if "writes to disk only now and then" in each]
    assert " info " in told


def test_a_replica_is_told_with_its_primary(project: Project, start_server: StartServer) -> None:
    primary = start_server(aof=True)
    server = start_server(aof=True, args=("--replicaof", f"127.0.0.1 {primary.port}"))
    eventually(lambda: b"master_link_status:up" in server.execute("INFO", "replication"))
    status, (line,) = connect(project, f"bus: {{redis: {{url: '{server.url}'}}}}\napis: {{a: {{owner: s}}}}")
    assert status == 78 and "is a replica, which takes no writes" in line
    assert f"127.0.0.1:{primary.port}" in line


def test_a_node_of_a_cluster_is_told(project: Project, start_server: StartServer) -> None:
    server = start_server(aof=True, args=("--cluster-enabled", "yes"))
    status, lines = connect(project, f"bus: {{redis: {{url: '{server.url}'}}}}\nservice_name: s\n")
    assert status == 78 and "is a cluster, of which each node" in lines[0]
    assert "; use bus.redis.cluster, with some of its nodes, in place of bus.redis.url" in lines[0]


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ("~* +@all -@scripting", "may not use EVALSHA"),
        ("~shop* +@all", "may not use SMEMBERS on schemas, which it needs to use the bus at all"),
        (
            "~* +@all -lpush",
            "may not use LPUSH (on a:rpc_queue, lightbus:reply:*), which it needs to serve a",
        ),
        (
            "~* +@all -xack",
            "may not use XACK (on a.*:stream, {a.*:stream}:retry:s-x), which it needs to listen",
        ),
        ("~* +@all -multi", "can't be looked at without MULTI"),
    ],
)
def test_what_this_user_of_redis_may_not_do(
    project: Project, any_redis: Server, rules: str, named: str
) -> None:
    any_redis.execute("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules.split())
    status, lines = connect(
        project,
        f"service_name: s\nbus: {{redis: {{url: 'redis://app:pw@127.0.0.1:{any_redis.port}'}}}}\n"
        "apis: {a: {owner: s}}\nlisteners: {x: {events: [a.sold], handler: bus:handle}}\n",
    )
    any_redis.execute("ACL", "DELUSER", "app")
    assert status == (0 if "multi" in rules else 78)
    assert any(named in line for line in lines), lines
    assert "pw" not in "".join(lines)


def test_a_redis_that_keeps_everything_is_fine(project: Project, start_server: StartServer) -> None:
    assert connect(project, f"bus: {{redis: {{url: '{start_server(aof=True).url}'}}}}") == (0, [])


@pytest.mark.parametrize(
    ("key", "more", "kind"),
    [
        ("a.*:stream", "", "stream"),
        ("a.sold:stream", "event_transport: {redis: {stream_use: per_event}}", "stream"),
        ("a:rpc_queue", "", "list"),
    ],
)
def test_a_key_of_another_type(
    project: Project, redis_server: Server, key: str, more: str, kind: str
) -> None:
    redis_server.execute("SADD", key, "x")
    _, lines = connect(
        project,
        f"bus: {{redis: {{url: '{redis_server.url}'}}}}\napis: {{a: {{{more}}}}}\n"
        "listeners: {x: {events: [a.sold], handler: bus:handle}}",
    )
    (line,) = [line for line in lines if "holds a set" in line]
    assert f"holds a set at {key}, where a {kind} belongs" in line


def test_a_command_that_was_renamed_away(project: Project, start_server: StartServer) -> None:
    server = start_server(args=("--rename-command", "GETDEL", "", "--appendonly", "yes"))
    status, (line,) = connect(project, f"bus: {{redis: {{url: '{server.url}'}}}}")
    assert status == 78 and "lacks the command GETDEL, without which" in line


class _Old(socketserver.StreamRequestHandler):
    """Enough of a Redis 5 to be asked about itself."""

    def handle(self) -> None:
        about = b"# Server\r\nredis_version:5.0.14\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"
        while line := self.rfile.readline():
            words = [self._word() for _ in range(int(line[1:]))]
            name = words[0].upper()
            if name == b"INFO":
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(about), about))
            elif name == b"COMMAND":
                known = [w for w in words[2:] if w not in (b"BLMOVE", b"XAUTOCLAIM", b"LMOVE")]
                self.wfile.write(b"*%d\r\n" % len(words[2:]))
                for word in words[2:]:
                    self.wfile.write(
                        b"*1\r\n$%d\r\n%s\r\n" % (len(word), word) if word in known else b"*-1\r\n"
                    )
            elif name == b"CONFIG":
                self.wfile.write(b"*0\r\n")
            elif name == b"TYPE":
                self.wfile.write(b"+none\r\n")
            elif name == b"CLIENT" and words[1].upper() == b"ID":
                self.wfile.write(b":1\r\n")
            else:
                self.wfile.write(b"+PONG\r\n" if name == b"PING" else b"+OK\r\n")

    def _word(self) -> bytes:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2]


@pytest.fixture
def old_redis() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Old) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_server_that_is_too_old_is_refused(project: Project, old_redis: int) -> None:
    text = f"service_name: s\nbus: {{log_format: text, redis: {{url: 'redis://127.0.0.1:{old_redis}'}}}}"
    status, lines = connect(project, text)
    assert status == 78 and len(lines) == 2
    assert "is version 5.0.14" in lines[0] and "6.2" in lines[0]
    assert "lacks the commands BLMOVE, LMOVE, XAUTOCLAIM" in lines[1]
    project.write("bus.py", MODULE)
    project.write("lightbus.yaml", text)
    status, output = project.refused()
    assert status == 78 and "is version 5.0.14" in output and "Traceback" not in output


def test_a_port_that_speaks_no_redis_is_given_up(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        status, lines = connect(
            project, f"bus: {{redis: {{url: 'redis://127.0.0.1:{port}', connect_timeout: 300ms}}}}"
        )
    assert status == 78 and "can't be reached" in lines[0]


def test_the_folder_of_the_project_is_left_alone(shop: Project) -> None:
    shop.write("lightbus.yaml", "service_name: s")
    shop.run("check")
    assert sorted(path.name for path in Path(shop.folder).iterdir()) == ["bus.py", "lightbus.yaml"]


def test_what_was_not_looked_at_is_said(shop: Project, redis_server: Server) -> None:
    shop.write("lightbus.yaml", "service_name: a")
    unseen = "handlers were not imported (--imports), Redis was not asked (--connect)"
    assert shop.run("check").stdout == f"no problems in lightbus.yaml; {unseen}\n"
    shop.env["LIGHTBUS__BUS__REDIS__URL"] = redis_server.url
    done = shop.run("check", "--imports", "--connect").stdout
    assert (
        done.splitlines()[-1].startswith("no problems in lightbus.yaml") and ";" not in done.splitlines()[-1]
    )


@pytest.mark.parametrize("name", ["lightbus.yml", "lightbus.json"])
def test_a_folder_without_a_manifest_and_a_file_that_is_none_are_told(project: Project, name: str) -> None:
    nothing = "but there is no manifest here: no lightbus.yaml, no -c"
    assert project.run("check").stdout.startswith(f"no problems, {nothing}")
    project.write(name, "{service_name: shop}")
    done = project.run("check").stdout
    advice = f"is not read, only lightbus.yaml is; rename it, or name it: -c {name}"
    assert f"{name}  warning: {advice}\n" in done and f"no problems, 1 to note, {nothing}" in done
    assert advice in project.run("run", "--transport", "memory").stderr
    client = "import logging, lightbus; logging.basicConfig(); lightbus.create()"
    assert advice in project.python("-c", client).stderr
    assert project.run("check", "-c", name).stdout.startswith(f"no problems in {name}")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("LIGHTBUS_SERVICENAME", "LIGHTBUS_SERVICE_NAME"),
        ("LIGHTBUS_MODULES", "LIGHTBUS_MODULE"),
        ("lightbus_process_name", "LIGHTBUS_PROCESS_NAME"),
        ("LIGHTBUS_LOG_LEVEL", "LIGHTBUS__BUS__LOG_LEVEL"),
        ("LIGHTBUS_REDIS_URL", "LIGHTBUS__BUS__REDIS__URL"),
        ("LIGHTBUS_BUS__LOG_LEVEL", "LIGHTBUS__BUS__LOG_LEVEL"),
    ],
)
def test_a_variable_that_is_none_of_ours_is_told_with_the_one_that_was_meant(
    tmp_path: Path, variable: str, meant: str
) -> None:
    (note,) = load(cwd=tmp_path, environ={variable: "x"}).notes
    assert note.severity == "warning"
    assert str(note) == (
        f"environment {variable}  is no variable of Lightbus, and has no effect; did you mean {meant}?"
    )


def test_variables_that_are_nobodys_mistake_are_passed_over(tmp_path: Path) -> None:
    of_kubernetes = ("SERVICE_HOST", "SERVICE_PORT", "WEB_SERVICE_HOST", "PORT", "PORT_6379_TCP_ADDR")
    variables = [*(f"LIGHTBUS_{name}" for name in of_kubernetes), "LIGHTBUS_PEER_PYTHON", "LIGHTBUS_"]
    assert not load(cwd=tmp_path, environ=dict.fromkeys(variables, "x")).notes
    assert not load(cwd=tmp_path, environ={"LIGHTBUS_SERVICE_NAME": "x"}).notes


def test_fewer_replicas_than_firing_waits_for_are_an_error_where_events_are_fired(
    project: Project, start_server: StartServer
) -> None:
    server = start_server(aof=True)

    def told(replicas: int, owner: str) -> list[str]:
        api = f"owner: {owner}, event_transport: {{redis: {{replicas_before_confirmed: {replicas}}}}}"
        text = f"service_name: s\nbus: {{redis: {{url: '{server.url}'}}}}\napis: {{a: {{{api}}}}}\n"
        status, lines = connect(project, text + "listeners: {x: {events: [a.sold], handler: bus:handle}}")
        found = [line for line in lines if "replicas_before_confirmed" in line]
        assert status == (78 if found else 0)
        return found

    (line,) = told(1, "s")
    assert "has 0 of the 1 replicas that events wait for" in line
    assert told(0, "s") == told(1, "t") == []
    start_server(aof=True, args=("--replicaof", f"127.0.0.1 {server.port}"))
    eventually(lambda: b"state=online" in server.execute("INFO", "replication"))
    assert told(1, "s") == []
