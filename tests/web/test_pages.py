"""What each page shows, to scripts and without a script in the browser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from lightbus.insight.overview import ListenerStatus, Overview, ProcessStatus
from lightbus.insight.traffic.pace import Paces
from lightbus.web.asking import Fields, Part, Rows
from lightbus.web.looks import Look
from lightbus.web.pages.home import home
from tests.support.servers import Server
from tests.web.bus import EVIL, evil, shop, show_group
from tests.web.conftest import browsing

PAGES = ["/", "/listeners", "/calls", "/schedules", "/graph", "/events", "/tail", "/audit"]
#: How many scripts a page has, where that is not two.
SCRIPTS = {"/tail": 3, "/listeners/": 4}


class _Reader(HTMLParser):
    """Takes note of what a browser would do."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.words = ""
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("href", "src", "action")}
        self.words += " "
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words += data


def read(text: str) -> _Reader:
    reader = _Reader()
    # Where a word may break is within it.
    reader.feed(text.replace("<wbr>", ""))
    reader.words = " ".join(reader.words.split())
    return reader


async def words_of(server: Server, path: str) -> str:
    """The words of a page."""
    async with browsing(url=server.url) as browser:
        answer = await browser.get(path)
    assert answer.status_code == 200
    return read(answer.text).words


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", "1 ready, 1 not ready"),
        ("/", "1.4, 1.5 mixed"),
        ("/", "shop-2: the mail server is away"),
        ("/", "the group shop-welcome: 3 unread, 0 pending; no process reads it"),
        ("/", "auth.check_password accounts 2 42 200 ms"),
        ("/listeners", "unserved welcome shop auth.* - 3"),
        ("/listeners/shop-mailer", "Events auth.user_registered"),
        ("/listeners/shop-mailer", "shop.mail:send shop/mail.py:30"),
        ("/listeners/shop-mailer", "8 attempts, 1 s to 15 min apart, then dead_letter"),
        ("/listeners/shop-mailer", "14 ok 2 error 50 ms half within 400 ms 95 % within 2 s the longest"),
        ("/listeners/shop-mailer", "shop-1 reads 1 400 ms shop-2 reads 1 400 ms"),
        ("/listeners/shop-welcome", "No process shows that it runs this listener"),
        ("/services/accounts", "accounts-1 3.2 2 h ago web-1 process 4711 2.0.0 3.12.1"),
        ("/services/accounts", "auth.user_registered 1,204"),
        ("/services/web", "web-1 client"),
        ("/services/web", "auth.check_password 412"),
        ("/services/shop", "not ready shop-2 the mail server is away 1.5"),
        ("/apis/auth", "check_password accounts:Auth.check accounts.py:12 42 2 200 ms web 412"),
        ("/apis/auth", "# Tell whether a password is right. auth.check_password(username: str) -> bool"),
        ("/apis/auth", "auth.user_registered shop-mailer"),
        ("/apis/auth", "user_registered 1,204"),
        ("/calls", "auth.check_password accounts 0 - 0 - 0.1 40 ok, 2 error 10 ms 200 ms web 412"),
        ("/schedules", "failed close shop at 02:00 (Europe/London) in 90 min 5 min ago 250 ms shop-1"),
        ("/graph", "accounts"),
        ("/graph?focus=web", "web"),
        ("/graph?focus=nothing", "Nothing named nothing is on the bus now"),
    ],
)
async def test_a_page_shows_what_is_there(redis_server: Server, path: str, told: str) -> None:
    shop(redis_server)
    assert told in await words_of(redis_server, path)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", "Start one with lightbus run"),
        ("/listeners", "Nobody listens to events"),
        ("/calls", "No API on the bus has a procedure"),
        ("/schedules", "No process that lives has a schedule"),
        ("/graph", "Start one with lightbus run"),
    ],
)
async def test_an_empty_page_says_what_to_do(redis_server: Server, path: str, told: str) -> None:
    assert told in await words_of(redis_server, path)


@pytest.mark.parametrize("path", ["/services/none", "/listeners/none", "/apis/none", "/services/%3Cb%3E"])
async def test_what_is_not_there_is_told(redis_server: Server, path: str) -> None:
    async with browsing(url=redis_server.url) as browser:
        answer = await browser.get(path)
    assert answer.status_code == 404 and "on the bus now" in answer.text and "<b>" not in answer.text


async def test_every_link_of_every_page_leads_to_a_page(redis_server: Server) -> None:
    shop(redis_server)
    seen: dict[str, int] = {}
    async with browsing(url=redis_server.url) as browser:
        left = {*PAGES}
        while left:
            path = left.pop()
            answer = await browser.get(path)
            seen[path] = answer.status_code
            if "text/html" in answer.headers["content-type"]:
                found = read(answer.text).links
                left |= {link for link in found if not link.startswith("#")} - seen.keys()
    assert {path for path, status in seen.items() if status != 200} == set()
    assert {"/services/shop", "/apis/auth", "/listeners/shop-welcome"} <= seen.keys()


async def test_whatever_is_on_the_bus_is_text(redis_server: Server) -> None:
    evil(redis_server)
    # The other two can't be those of a stream, or of an event.
    fired = [name for name in EVIL if name[0] != "{" and name.isprintable()]
    for name in fired:
        about = ("api_name", name, "event_name", name, "id", name, "version", 1, f":{name}", json.dumps(name))
        redis_server.execute("XADD", f"{name}.*:stream", "*", *about)
    ways = ["/services/{}", "/apis/{}", "/listeners/{}-{}", "/graph?focus={}"]
    paths = [way.replace("{}", quote(name, safe="")) for way in ways for name in EVIL]
    paths += [f"/events/{quote(name, safe='')}" for name in fired]
    async with browsing(url=redis_server.url) as browser:
        for path in (*PAGES, *paths):
            answer = await browser.get(path)
            assert answer.status_code == 200, path
            page = read(answer.text)
            # The page's own script alone, and of drawings nothing that runs.
            scripts = next((n for start, n in SCRIPTS.items() if path.startswith(start)), 2)
            assert answer.text.count("<script") == scripts
            assert page.tags.isdisjoint({"img", "iframe"})
            assert {name for name in page.attributes if name.startswith("on")} == set()
            assert {link for link in page.links if not link.startswith(("/", "#"))} == set()
            assert len(page.ids) == len(set(page.ids)), f"{path} has an id twice"
            assert "62615533" not in page.words


def test_a_bus_with_very_much_on_it_fits_the_page() -> None:
    processes = [
        ProcessStatus(f"s{n % 300}", f"p{n}", listens=[f"l{i}" for i in range(9)]) for n in range(900)
    ]
    listeners = [
        ListenerStatus("s1", f"l{n}", "a.*:stream", n, True, 0, 0, 0, (), group=f"s1-l{n}")
        for n in range(1000)
    ]
    shown = home(Look(Overview(sorted(processes, key=lambda p: p.service), [], listeners, []), []), Paces())
    page = shown.part(Fields({"page": ["3"]})).services
    assert isinstance(page, Part) and (page.pages, page.first, page.last, page.all) == (3, 201, 300, 300)
    assert len(shown.listeners) == 10 and shown.more_listeners == 990
    assert shown.listeners[0].it.name == "l999"
    assert shown.figures[2].number == sum(range(1000))


@pytest.mark.parametrize(
    ("query", "rows", "fits"),
    [
        ({}, ["r0", "r99"], 250),
        ({"page": "3"}, ["r200", "r249"], 250),
        ({"page": "99"}, ["r200", "r249"], 250),
        ({"page": "0"}, ["r0", "r99"], 250),
        ({"page": "-1"}, ["r0", "r99"], 250),
        ({"page": "9" * 5_000}, ["r0", "r99"], 250),
        ({"find": "R24"}, ["r24", "r249"], 11),
        ({"find": "r1", "page": "2"}, ["r189", "r199"], 111),
        ({"find": "none"}, [], 0),
    ],
)
def test_a_long_table_goes_by_pages_and_names(query: dict[str, str], rows: list[str], fits: int) -> None:
    table = Rows([f"r{n}" for n in range(250)], lambda row: row)
    part = table.part(Fields({name: [value] for name, value in query.items()}))
    assert ([*part.rows[:1], *part.rows[1:][-1:]], part.fits, part.all) == (rows, fits, 250)


async def test_a_long_table_leads_to_its_other_pages(redis_server: Server) -> None:
    for number in range(201):
        show_group(redis_server, f"shop-l{number:03}", "auth.*:stream")
    async with browsing(url=redis_server.url) as browser:
        path, seen = "/listeners", 0
        while path:
            page = read((await browser.get(path)).text)
            seen += sum("/listeners/shop-l" in link for link in page.links)
            following = f"page={int(path.partition('page=')[2] or 1) + 1}"
            path = next((link for link in page.links if following in link), "")
        assert seen == 201
        some = read((await browser.get("/listeners?find=L20")).text)
        assert sum("/listeners/shop-l" in link for link in some.links) == 1 and "page=" not in str(some.links)
        none = read((await browser.get("/listeners?find=%3Cb%3E")).text)
        assert "No name has <b> in it" in none.words and "b" not in none.tags
