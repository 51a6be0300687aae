"""``lightbus doctor``: each thing that it finds, and that it does not find it where all is well."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lightbus.transports.port import Finding
from lightbus.transports.redis.inspection.server import _disk, _room, describe
from tests.conftest import StartServer, missing
from tests.guide.project import Project
from tests.support.servers import Server
from tests.support.terminal import ESCAPES, on_terminal

BUS = """
    from lightbus import Api, Event

    print("imported")

    class ShopApi(Api):
        sold = Event(parameters=("sku",))

        class Meta:
            name = "shop"

        def count(self):
            return 1

    def on_sold(event_message, sku): ...
"""
MANIFEST = """
    service_name: shop
    modules: [bus]
    apis: {shop: {owner: shop, event_transport: {redis: {max_stream_length: 100}}}}
    listeners: {mailer: {events: [shop.sold], handler: "bus:on_sold"}}
"""
CHECKS = (
    *("manifest", "imports", "files", "redis", "permissions"),
    *("clocks", "events", "groups", "apis", "versions"),
)
STREAM = "shop.*:stream"


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A Redis that keeps everything."""
    return start_server(aof=True)


@pytest.fixture
def shop(tmp_path: Path, server: Server) -> Iterator[Project]:
    """A project at which there is nothing to be found."""
    it = Project(tmp_path, server.url)
    it.write("bus.py", BUS)
    it.write("lightbus.yaml", MANIFEST)
    yield it
    it.close()


def examined(project: Project, *args: str, **env: str) -> dict[str, Any]:
    """The exit status, and what was found by each check."""
    done = project.run("doctor", "--format", "json", *args, **env)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_status"] == done.returncode
    assert "Traceback" not in done.stderr
    checks = {check["name"]: check for check in found["checks"]}
    told = [each for check in found["checks"] for each in check["findings"]]
    assert [each for each in told if (each["severity"] == "note") == bool(each["next"])] == []
    return {"status": done.returncode, **checks}


def findings(found: dict[str, Any], check: str) -> list[tuple[str, str]]:
    """Severity and text of what a check found."""
    return [(each["severity"], each["message"]) for each in found[check]["findings"]]


def one(found: dict[str, Any], check: str) -> tuple[str, str]:
    (finding,) = findings(found, check)
    return finding


def test_where_all_is_well_nothing_is_found(shop: Project) -> None:
    shop.host()
    found = examined(shop)
    assert found.pop("status") == 0
    # That the length of streams means another thing than in 1.x.
    assert one(found, "manifest")[0] == "note"
    found["manifest"]["state"] = "ok"
    assert {name: check["state"] for name, check in found.items()} == dict.fromkeys(CHECKS, "ok")
    assert found["imports"]["summary"] == "bus: 1 API, 1 listener, 0 schedules"
    assert "Valkey" in found["redis"]["summary"] and found["groups"]["summary"] == "1 group, 0 events waiting"
    assert found["apis"]["summary"] == "1 API, 1 served now"


def test_a_mistake_in_the_manifest_is_told_with_its_place_and_ends_the_search(shop: Project) -> None:
    shop.write("lightbus.yaml", "service_nam: shop\n")
    found = examined(shop)
    assert found["status"] == 78 and found["redis"]["state"] == "skipped"
    (mistake,) = found["manifest"]["findings"]
    assert (mistake["source"], mistake["line"], mistake["path"]) == ("lightbus.yaml", 1, "service_nam")
    assert mistake["next"] == 'did you mean "service_name"?'


def test_a_warning_about_the_environment_is_no_mistake(shop: Project) -> None:
    found = examined(shop, LIGHTBUS_SERVICENAME="x")
    assert found["status"] == 0 and findings(found, "manifest")[0][0] == "warning"


def test_a_module_that_can_not_be_imported_is_told_and_the_rest_is_looked_at(shop: Project) -> None:
    shop.write("bus.py", "1 / 0")
    found = examined(shop)
    assert found["status"] == 78 and found["redis"]["state"] == "ok"
    assert "ZeroDivisionError" in " ".join(text for _, text in findings(found, "imports"))


def test_a_folder_without_code_and_manifest_is_one_from_which_a_bus_is_looked_after(
    tmp_path: Path, server: Server
) -> None:
    project = Project(tmp_path, server.url)
    found = examined(project)
    assert (found["status"], found["imports"]["state"]) == (0, "skipped")
    assert "there is no bus.py here" in found["imports"]["summary"]


def test_too_few_open_files_are_told(shop: Project) -> None:
    process = shop.start_shell(f"ulimit -n 60; exec {sys.executable} -m lightbus doctor --format json")
    assert process.wait(60) == 0
    found = json.loads(process.output()[process.output().index("{") :])
    (check,) = [check for check in found["checks"] if check["name"] == "files"]
    assert check["state"] == "warning" and "may open 60 files, and needs about 66" in str(check["findings"])


def test_a_redis_that_is_away_is_69_and_what_needs_it_is_not_looked_at(shop: Project) -> None:
    found = examined(shop, LIGHTBUS__BUS__REDIS__URL="redis://127.0.0.1:1/0")
    assert found["status"] == 69 and one(found, "redis")[0] == "error"
    assert "can't be reached" in one(found, "redis")[1] and found["imports"]["state"] == "ok"
    assert [found[name]["state"] for name in ("permissions", "clocks", "events", "groups")] == ["skipped"] * 4


@pytest.mark.parametrize(
    "how", ["cluster: {{nodes: ['127.0.0.1:{port}']}}", "url: redis+cluster://127.0.0.1:{port}"]
)
def test_a_redis_that_is_given_as_a_cluster_and_is_none_is_a_wrong_configuration(
    tmp_path: Path, server: Server, how: str
) -> None:
    project = Project(tmp_path, None)
    project.write("bus.py", BUS)
    project.write("lightbus.yaml", MANIFEST + f"    bus: {{redis: {{{how.format(port=server.port)}}}}}\n")
    found = examined(project)
    severity, told = one(found, "redis")
    assert (found["status"], severity, found["events"]["state"]) == (78, "error", "skipped")
    assert f"Redis at 127.0.0.1:{server.port} is no cluster; give its URL, redis://..., as" in told


def test_a_redis_that_evicts_or_keeps_nothing_endangers_data(
    shop: Project, start_server: StartServer
) -> None:
    evicting = start_server(aof=True, args=("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"))
    found = examined(shop, LIGHTBUS__BUS__REDIS__URL=evicting.url)
    assert found["status"] == 1 and "maxmemory-policy allkeys-lru" in one(found, "redis")[1]
    assert found["redis"]["findings"][0]["next"] == "set it to noeviction"
    forgetful = start_server()
    found = examined(shop, LIGHTBUS__BUS__REDIS__URL=forgetful.url)
    assert found["status"] == 1 and "writes nothing to disk" in one(found, "redis")[1]
    as_it_comes = start_server(args=("--save", "3600 1"))
    found = examined(shop, LIGHTBUS__BUS__REDIS__URL=as_it_comes.url)
    assert found["status"] == 0 and one(found, "redis")[0] == "note"


def test_a_redis_that_is_nearly_full_endangers_what_comes() -> None:
    (finding,) = _room("Redis at x", {"used_memory": "95", "maxmemory": "100"})
    assert finding.topic == "data" and "uses 95% of its maxmemory" in finding.what
    assert not list(_room("Redis at x", {"used_memory": "85", "maxmemory": "100"}))
    assert not list(_room("Redis at x", {"used_memory": "95", "maxmemory": "0"}))


@pytest.mark.parametrize("name", ["rdb_last_bgsave_status", "aof_last_write_status"])
def test_a_disk_that_takes_nothing_is_told(name: str) -> None:
    (finding,) = _disk("Redis at x", {name: "err"})
    assert finding.topic == "data" and name in finding.what
    assert not list(_disk("Redis at x", {name: "ok"}))


@pytest.mark.parametrize(("clients", "said"), [(1, "1 client"), (4, "4 clients")])
def test_the_clients_of_a_server_are_counted(clients: int, said: str) -> None:
    about = f"# Clients\r\nconnected_clients:{clients}\r\nredis_version:7.0.15\r\nused_memory_human:2M\r\n"
    described = describe([("redis:6379/0", about.encode())])
    assert described == f"redis:6379/0: Redis 7.0.15, 2M of memory used, {said}"


def test_a_server_that_takes_hardly_any_more_clients_is_told() -> None:
    (finding,) = _room("Redis at x", {"connected_clients": "95", "maxclients": "100"})
    assert isinstance(finding, Finding) and "95 of at most 100 clients" in finding.what
    assert not list(_room("Redis at x", {"connected_clients": "5", "maxclients": "100"}))


def test_an_old_redis_that_can_do_less_is_noted(shop: Project, start_server: StartServer) -> None:
    old = start_server("redis62", aof=True)
    found = examined(shop, LIGHTBUS__BUS__REDIS__URL=old.url)
    severity, text = one(found, "redis")
    assert (found["status"], severity) == (0, "note") and "is version 6.2" in text
    assert "is version 6.2" not in shop.run("check", "--connect", LIGHTBUS__BUS__REDIS__URL=old.url).stdout


def test_a_permission_that_is_missing_is_told_with_the_rule_that_grants_it(
    shop: Project, server: Server
) -> None:
    server.execute("ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "+@all", "-xack")
    found = examined(shop, LIGHTBUS__BUS__REDIS__URL=f"redis://app:pw@127.0.0.1:{server.port}/0")
    assert found["status"] == 78 and found["redis"]["state"] == "ok"
    assert "may not use XACK" in one(found, "permissions")[1]
    assert found["permissions"]["findings"][0]["next"] == "allow it with ACL SETUSER app +xack"


def test_a_clock_that_differs_is_told(shop: Project) -> None:
    libraries = [*Path("/usr/lib").glob("**/faketime/libfaketime.so.1")]
    if not libraries:
        missing("no libfaketime: install Debian's package faketime")
    done = shop.python(
        "-m", "lightbus", "doctor", "--format", "json", LD_PRELOAD=str(libraries[0]), FAKETIME="+3600"
    )
    (check,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "clocks"]
    (finding,) = check["findings"]
    assert check["state"] == "warning" and "ahead of that of the broker" in finding["message"]
    assert finding["next"] == "set the wrong one right, as by NTP"


def test_an_event_that_nobody_has_is_told_with_the_name_that_was_meant(shop: Project) -> None:
    shop.host()
    shop.write("mail/handlers.py", "def on(event_message, **kwargs): ...\n")
    shop.write(
        "mail/lightbus.yaml",
        """
        service_name: mail
        modules: []
        listeners: {send: {events: [shop.slod], handler: "handlers:on"}}
        """,
    )
    found = examined(shop.within("mail"))
    assert found["status"] == 0
    assert one(found, "events") == ("warning", "shop.slod: shop has no event slod; did you mean sold?")


def test_a_group_that_lost_its_listener_is_told_and_endangers_firing_once_much_waits(
    shop: Project, server: Server
) -> None:
    server.execute("XGROUP", "CREATE", STREAM, "shop-old", "0", "MKSTREAM")
    found = examined(shop)
    assert found["status"] == 0 and one(found, "groups")[0] == "note"
    for _ in range(60):
        server.execute("XADD", STREAM, "*", "a", "b")
    found = examined(shop)
    severity, text = one(found, "groups")
    assert (found["status"], severity) == (1, "warning")
    assert "at 100 nothing more can be fired" in text
    assert "lightbus group rm shop-old" in text


def test_events_that_are_gone_unread_are_told(shop: Project, server: Server) -> None:
    server.execute("XGROUP", "CREATE", STREAM, "shop-mailer", "0", "MKSTREAM")
    for _ in range(10):
        server.execute("XADD", STREAM, "*", "a", "b")
    server.execute("XREADGROUP", "GROUP", "shop-mailer", "p", "COUNT", "1", "STREAMS", STREAM, ">")
    assert examined(shop)["groups"]["findings"] == []
    server.execute("XTRIM", STREAM, "MAXLEN", "2")
    found = examined(shop)
    severity, text = one(found, "groups")
    assert (found["status"], severity) == (1, "warning") and "7 events" in text and "are gone unread" in text


def test_dead_letters_are_counted(shop: Project, server: Server) -> None:
    server.execute("XGROUP", "CREATE", STREAM, "shop-mailer", "0", "MKSTREAM")
    server.execute("XADD", f"{{{STREAM}}}:dead:shop-mailer", "*", "reason", "failed")
    found = examined(shop)
    severity, text = one(found, "groups")
    assert (found["status"], severity) == (0, "warning") and text.startswith("1 dead letter of shop-mailer")


def test_calls_that_wait_for_nobody_are_told(shop: Project, server: Server) -> None:
    server.execute("RPUSH", "shop:rpc_queue", "x")
    found = examined(shop)
    assert found["status"] == 0
    assert one(found, "apis")[1] == ("1 call of shop waits, and no process serves it; start the service shop")


def test_an_api_that_another_service_has_is_told(shop: Project) -> None:
    shop.host()
    shop.write("thief/bus.py", BUS)
    shop.write("thief/lightbus.yaml", "service_name: thief\napis: {shop: {owner: thief}}\n")
    found = examined(shop.within("thief"))
    assert found["status"] == 78
    told = "the API 'shop' is served by the service 'shop' already, and this is 'thief'"
    assert told in one(found, "apis")[1]
    # The place in the manifest stands before it.
    assert found["apis"]["findings"][0]["next"].startswith("stop that service, or leave the API to it with ")


def test_a_lightbus_1_on_the_bus_is_noted(shop: Project, server: Server) -> None:
    server.execute("SADD", "schemas", "old")
    server.execute("SET", "schema:old", json.dumps({"events": {}, "rpcs": {}}))
    found = examined(shop)
    severity, text = one(found, "versions")
    assert (found["status"], severity) == (0, "note") and "a Lightbus 1.x on this bus (the API old)" in text


_END = "the-end"
#: All that changes nothing, as MONITOR shows it. What is only judged within MULTI, it does not show.
READ_ONLY = {
    *("auth", "client", "command", "config", "exists", "get", "hget", "hgetall", "hmget", "info", "llen"),
    *("mget", "multi", "ping", "select", "smembers", "time", "type", "xinfo", "xlen", "xpending", "zcard"),
    *("zrange", "zrangebyscore"),
}


@contextmanager
def monitored(server: Server) -> Iterator[list[list[str]]]:
    """Gives the commands that a Redis does meanwhile; all of them, once it is over."""
    seen: list[list[str]] = []
    link = socket.create_connection(("127.0.0.1", server.port))

    def read() -> None:
        with link.makefile("r", errors="replace") as lines:
            for line in lines:
                words = [word.strip('"') for word in line.partition("] ")[2].split()]
                if words[:2] == ["ECHO", _END]:
                    return
                seen.append(words)

    with link:
        link.sendall(b"MONITOR\r\n")
        assert link.recv(5) == b"+OK\r\n"
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield seen
            server.execute("ECHO", _END)
            reader.join(60)
            assert not reader.is_alive()
        finally:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            reader.join()


def test_nothing_is_written_to_redis(shop: Project, server: Server) -> None:
    shop.host().terminate()
    # More names without a contract than are left alone otherwise, and a Redis that nobody has searched.
    server.execute("SADD", "schemas", *(f"gone{n}" for n in range(1_500)))
    server.execute("XGROUP", "CREATE", STREAM, "shop-old", "0", "MKSTREAM")
    server.execute("DEL", "lightbus:streams", "lightbus:streams:searched")
    before = {key: server.execute("DUMP", key) for key in server.execute("KEYS", "*")}
    with monitored(server) as seen:
        examined(shop)
    assert {words[0].lower() for words in seen} - READ_ONLY == set()
    assert {key: server.execute("DUMP", key) for key in server.execute("KEYS", "*")} == before


def test_people_get_a_list_that_fits_their_terminal_with_what_to_do_next(
    shop: Project, start_server: StartServer
) -> None:
    env = {**shop.env, "LIGHTBUS__BUS__REDIS__URL": start_server().url}
    code, output = on_terminal("doctor", cwd=shop.folder, env=env)
    lines = ESCAPES.sub("", output).splitlines()
    assert code == 1 and max(map(len, lines)) <= 80 and "\x1b[" in output
    assert any(line.startswith("✓ ok       imports") for line in lines)
    assert any(line.startswith("! warning  redis") for line in lines)
    assert "      -> set appendonly yes" in lines
    assert lines[-1] == "0 errors, 1 warning, 1 note; exit status 1"
    code, output = on_terminal("doctor", cwd=shop.folder, env={**env, "NO_COLOR": "1"})
    assert code == 1 and "\x1b" not in output
    code, output = on_terminal("doctor", cwd=shop.folder, env={**env, "PYTHONIOENCODING": "ascii"})
    assert "+ ok       imports" in output and "\\u" not in output


def test_a_program_that_reads_lines_gets_each_finding_in_one(
    shop: Project, start_server: StartServer
) -> None:
    done = shop.run("doctor", LIGHTBUS__BUS__REDIS__URL=start_server().url)
    (line,) = [line for line in done.stdout.splitlines() if "writes nothing to disk" in line]
    assert line.startswith("    ! warning: ") and "\x1b" not in done.stdout
    assert "imported" in done.stderr and "imported" not in done.stdout
