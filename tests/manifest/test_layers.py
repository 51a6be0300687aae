"""Where layers come from and which of them wins."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lightbus.manifest.text import sources as source
from tests.support.rights import bound_by_files

from .conftest import Folder


def test_nothing_is_required(folder: Folder) -> None:
    manifest = folder.load()
    assert manifest.modules == ("bus",) and not manifest.modules_given
    assert manifest.service_name is None
    assert manifest.process_name == f"{socket.gethostname()}-{os.getpid()}"
    assert not manifest.redis_configured
    assert float(manifest.api("anything").rpc_timeout) == 5


def test_the_file_in_the_folder_is_read_where_none_is_named(folder: Folder) -> None:
    folder.write("lightbus.yaml", "service_name: from-file")
    assert folder.load().service_name == "from-file"
    folder.environ["LIGHTBUS_CONFIG"] = folder.write("other.yaml", "service_name: from-variable")
    assert folder.load().service_name == "from-variable"
    assert folder.load(folder.write("third.yaml", "service_name: from-flag")).service_name == "from-flag"


def test_each_layer_wins_over_those_beneath(folder: Folder) -> None:
    folder.write("shared.yaml", "service_name: include")
    a = folder.write("a.yaml", "include: [shared.yaml]\nservice_name: first")
    b = folder.write("b.yaml", "service_name: last")
    bare = folder.write("bare.yaml", "include: [shared.yaml]")
    created = {"service_name": "create"}
    assert folder.load(folder.write("empty.yaml", ""), create_arguments=created).service_name == "create"
    assert folder.load(bare, create_arguments=created).service_name == "include"
    assert folder.load(a, create_arguments=created).service_name == "first"
    assert folder.load(a, b).service_name == "last"
    assert folder.load(a, bare).service_name == "first"
    folder.environ["LIGHTBUS_SERVICE_NAME"] = "environment"
    assert folder.load(a, b).service_name == "environment"
    assert folder.load(a, b, sets=["service_name=set"]).service_name == "set"
    assert folder.load(a, b, sets=["service_name=set"], flags={"service_name": "flag"}).service_name == "flag"


def test_maps_merge_lists_and_scalars_replace_and_null_removes(folder: Folder) -> None:
    a = folder.write(
        "a.yaml",
        """
        modules: [one, two]
        apis: {auth: {rpc_timeout: 3s, owner: auth, event_transport: {redis: {batch_size: 7}}}}
        listeners:
          one: {events: [auth.x], handler: "a:b", concurrency: 4}
          two: {events: [auth.y], handler: "a:c"}
        """,
    )
    b = folder.write(
        "b.yaml",
        """
        modules: [three]
        apis: {auth: {rpc_timeout: null, event_transport: {redis: {max_stream_length: null}}}}
        listeners: {one: {concurrency: 8}, two: null}
        """,
    )
    manifest = folder.load(a, b)
    assert manifest.modules == ("three",)
    assert manifest.apis["auth"].owner == "auth" and float(manifest.apis["auth"].rpc_timeout) == 5
    options = manifest.apis["auth"].event_transport.options
    assert options.batch_size == 7 and options.max_stream_length is None
    assert list(manifest.listeners) == ["one"] and manifest.listeners["one"].concurrency == 8


def test_another_transport_replaces_the_one_beneath(folder: Folder) -> None:
    a = folder.write("a.yaml", "apis: {default: {event_transport: {redis: {batch_size: 7}}}}")
    b = folder.write("b.yaml", "apis: {default: {event_transport: {memory: {}}}}")
    assert folder.load(a, b).default_api.event_transport.name == "memory"


def test_a_folder_is_its_own_yaml_files_in_the_order_of_their_names(folder: Folder) -> None:
    folder.write("config/10-b.yml", "service_name: second")
    folder.write("config/00-a.yaml", "service_name: first\nbus: {log_level: debug}")
    folder.write("config/deeper/z.yaml", "service_name: deeper")
    folder.write("config/notes.txt", "no yaml: [")
    manifest = folder.load("config")
    assert (manifest.service_name, manifest.bus.log_level) == ("second", "debug")
    assert manifest.sources == ("config/00-a.yaml", "config/10-b.yml")


@pytest.mark.parametrize("how", ["config", "include"])
def test_hidden_files_of_a_folder_are_not_read(folder: Folder, how: str) -> None:
    folder.write("c/10.yaml", "service_name: a")
    folder.write("c/.10.yaml", "service_name: b")
    folder.write("c/._10.yaml", b"\0\5\26\7\0Mac OS X")
    (folder.path / "c/.#10.yaml").symlink_to("me@host.1234")
    folder.write("lightbus.yaml", "include: [c]")
    assert folder.load("c" if how == "config" else "lightbus.yaml").service_name == "a"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("missing.yaml", "missing.yaml  does not exist"),
        ("nothing", "nothing  the folder has no *.yaml or *.yml file"),
        ("/dev/null", "/dev/null  is no regular file"),
        ("not\0a path", "can't be read: no such path"),
    ],
)
def test_what_can_not_be_read_is_one_clear_line(folder: Folder, path: str, told: str) -> None:
    folder.write("nothing/readme.txt", "")
    (problem,) = folder.problems_of(path)
    assert told in problem


def test_the_file_of_the_folder_is_told_where_it_leads_nowhere(folder: Folder) -> None:
    (folder.path / "lightbus.yaml").symlink_to("elsewhere")
    assert folder.problems_of() == ["lightbus.yaml  does not exist"]


def test_a_file_that_may_not_be_read_is_told(folder: Folder) -> None:
    folder.write("a.yaml", "")
    (folder.path / "a.yaml").chmod(0)
    with bound_by_files():
        assert "may not be read by this user" in folder.problems_of("a.yaml")[0]


def test_includes_are_beneath_the_file_and_relative_to_it(folder: Folder) -> None:
    folder.write("shared/one.yaml", "include: [two.yaml]\nservice_name: one")
    folder.write("shared/two.yaml", "service_name: two\nprocess_name: two")
    folder.environ["WHERE"] = "../shared"
    path = folder.write("own/a.yaml", 'include: ["${WHERE}/one.yaml", ../more]')
    folder.write("more/x.yaml", "bus: {log_level: debug}")
    manifest = folder.load(path)
    assert (manifest.service_name, manifest.process_name, manifest.bus.log_level) == ("one", "two", "debug")
    assert manifest.sources == ("shared/two.yaml", "shared/one.yaml", "more/x.yaml", "own/a.yaml")


@pytest.mark.parametrize(
    ("include", "told"),
    [
        ("[a.yaml]", ":1:11  include[0]: goes round in a circle"),
        ("[missing.yaml]", ":1:11  include[0]: missing.yaml does not exist"),
        ('["not\\0a path"]', ":1:11  include[0]: not\\x00a path can't be read: no such path"),
        ("[other]", ":1:11  include[0]: the folder has no *.yaml"),
        ("shared.yaml", ":1:10  include: must be a list of files, folders and URLs"),
        ("[7]", ":1:11  include[0]: must be a file"),
        ('["${UNSET}"]', ":1:11  include[0]: the environment variable UNSET is not set"),
    ],
)
def test_an_include_that_fails_is_told_where_it_is_written(folder: Folder, include: str, told: str) -> None:
    (folder.path / "other").mkdir()
    folder.write("a.yaml", f"include: {include}")
    (problem,) = folder.problems_of("a.yaml")
    assert problem.startswith("a.yaml" + told)


def test_many_includes_end(folder: Folder) -> None:
    for n in range(10):
        folder.write(f"{n}.yaml", f"include: [{', '.join([f'{n + 1}.yaml'] * 10)}]")
    folder.write("10.yaml", "")
    assert any("more than 100 files in all" in p for p in folder.problems_of("0.yaml"))


class Web:
    """A server whose answers are chosen by the path."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/redirect":
                    self.send_response(302)
                    self.send_header("Location", "/good.yaml")
                    self.end_headers()
                elif self.path == "/endless":
                    self.send_response(200)
                    self.end_headers()
                    for _ in range(1000):
                        if outer.stop.wait(0.02):
                            break
                        self.wfile.write(b"# more\n")
                elif self.path == "/silent":
                    outer.stop.wait(20)
                elif self.path == "/guarded.yaml" and self.headers["Authorization"] != GUARD:
                    self.send_error(401)
                elif self.path in pages:
                    self.send_response(200)
                    if self.path == "/short.yaml":
                        self.send_header("Content-Length", "100")
                    self.end_headers()
                    self.wfile.write(pages[self.path])
                else:
                    self.send_error(404)

            def log_message(self, *args: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


PAGES = {
    "/good.yaml": b"service_name: remote\ninclude: [more.yaml]",
    "/more.yaml": b"process_name: also-remote",
    "/code.yaml": b"modules: [os]\nlisteners: {a: {events: [b.c], handler: 'os:system'}}",
    "/local.yaml": b"include: [file:///etc/passwd]\nservice_name: '${file:/etc/hostname}'",
    "/huge": b"#" * (1024 * 1024 + 1),
    "/bad.yaml": b"servce_name: x",
    "/short.yaml": b"service_name: x",
    "/guarded.yaml": b"service_name: guarded",
}
#: What a user "me" with the password "p@ss" sends.
GUARD = "Basic bWU6cEBzcw=="


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web(PAGES)
    yield web
    web.stop.set()
    web.server.shutdown()
    web.server.server_close()


def test_a_manifest_may_come_from_a_url(folder: Folder, web: Web) -> None:
    manifest = folder.load(f"{web.url}/good.yaml")
    assert (manifest.service_name, manifest.process_name) == ("remote", "also-remote")
    path = folder.write("a.yaml", f"include: ['{web.url}/good.yaml']")
    assert folder.load(path).service_name == "remote"


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("/redirect", "redirects (302), which is not followed; name the final URL"),
        ("/missing", "was answered with status 404"),
        ("/huge", "is larger than 1024 KiB"),
        ("/short.yaml", "was cut off before its end"),
        ("/guarded.yaml", "was answered with status 401"),
        ("/bad.yaml", ':1:1  servce_name: unknown key; did you mean "service_name"?'),
    ],
)
def test_a_url_that_fails_is_one_clear_line(folder: Folder, web: Web, page: str, told: str) -> None:
    (problem,) = folder.problems_of(web.url + page)
    assert problem.startswith(web.url + page) and told in problem


@pytest.mark.parametrize("page", ["/endless", "/silent"])
def test_a_url_that_gives_no_whole_answer_is_given_up(
    folder: Folder, web: Web, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both pages end after twenty seconds: without the limit, something else is told then.
    monkeypatch.setattr(source, "URL_SECONDS", 0.5)
    (problem,) = folder.problems_of(web.url + page)
    assert problem.startswith(web.url + page) and "gave no whole answer within 0.5 s" in problem


def test_a_user_in_a_url_is_sent_and_not_shown(folder: Folder, web: Web) -> None:
    manifest = folder.load(web.url.replace("://", "://me:p%40ss@") + "/guarded.yaml")
    assert manifest.service_name == "guarded"
    assert "p%40ss" not in str(manifest.sources)


def test_a_url_where_nobody_answers_is_one_clear_line(folder: Folder) -> None:
    (problem,) = folder.problems_of("http://user:canary@127.0.0.1:1/a.yaml?token=canary")
    assert "can't be" in problem and "canary" not in problem


def test_a_manifest_from_a_url_names_code_and_files_only_where_it_is_trusted(
    folder: Folder, web: Web
) -> None:
    told = folder.problems_of(f"{web.url}/code.yaml")
    assert len(told) == 2 and all("name code only with --trust-remote" in p for p in told)
    assert folder.load(f"{web.url}/code.yaml", trust_remote=True).modules == ("os",)
    told = folder.problems_of(f"{web.url}/local.yaml")
    assert len(told) == 2 and all("local files only with --trust-remote" in p for p in told)


def test_loading_imports_nothing_and_connects_nowhere(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    folder.write("evil.py", "raise AssertionError('a module was imported')")
    monkeypatch.syspath_prepend(str(folder.path))
    monkeypatch.setattr(socket, "socket", refuse)
    manifest = folder.read(
        "modules: [evil]\nlisteners: {a: {events: [b.c], handler: 'evil:f'}}\n"
        "bus: {redis: {url: 'redis://127.0.0.1:1/0'}}\n"
        "policies: {p: {give_up_on: ['evil:Error']}}"
    )
    assert manifest.modules == ("evil",)


def test_paths_are_named_as_they_are_seen_from_the_current_folder(folder: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / ("a long name, as folders have them" * 3)
    outside.mkdir(parents=True)
    folder.path = tmp_path / "inside"
    folder.write("a.yaml", "x: 1")
    (outside / "b.yaml").write_text("y: 1")
    told = folder.problems_of("./a.yaml", str(outside / "b.yaml"))
    assert told[0].startswith("a.yaml:1:1  x: unknown key") and told[1].startswith(
        f"{outside}/b.yaml:1:1  y:"
    )
