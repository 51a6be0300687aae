"""Lines of Lightbus come out once, however the bus module configures logging; its own configuration stays."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from textwrap import indent
from zoneinfo import ZoneInfo

import pytest

from lightbus.host import logs
from tests.guide.project import Project
from tests.support.eventually import eventually
from tests.support.processes import Process

BUS = """
import logging, logging.config, os, sys, time
from lightbus import Api, Event, OnError

def configure():
{configure}

{now}

class ShopApi(Api):
    sold = Event(parameters=("n",))

    class Meta:
        name = "shop"

    def fail(self):
        raise ValueError("in a procedure")

    def speak(self):
        logging.getLogger("shop").warning("a line of the shop")

    def configure(self):
        configure()

def on_sold(event_message, n):
    raise ValueError("in a listener")

def before_server_start(bus):
    {before}
    bus.shop.sold.listen(on_sold, on_error=OnError.ACKNOWLEDGE_AND_LOG)
"""

HANDLERS = """"handlers": {"console": {"class": "logging.StreamHandler", "formatter": "theirs"}},
    "formatters": {"theirs": {"format": "THEIRS %(message)s"}}"""

#: How a bus module may configure logging, and the beginnings that the lines of Lightbus have then.
CONFIGURATIONS = {
    "nothing": ("pass", ""),
    "dictConfig of the root": (
        f'logging.config.dictConfig({{"version": 1, {HANDLERS}, "root": {{"handlers": ["console"]}}}})',
        "THEIRS ",
    ),
    "dictConfig that disables nothing": (
        f"""logging.config.dictConfig({{"version": 1, {HANDLERS}, "disable_existing_loggers": False,
    "root": {{"handlers": ["console"], "level": "ERROR"}}}})""",
        "THEIRS ",
    ),
    "dictConfig of another logger": (
        f"""logging.config.dictConfig({{"version": 1, {HANDLERS},
    "loggers": {{"shop": {{"level": "DEBUG"}}}}}})""",
        "",
    ),
    "dictConfig of our logger": (
        f"""logging.config.dictConfig({{"version": 1, {HANDLERS},
    "loggers": {{"lightbus": {{"handlers": ["console"], "level": "INFO"}}}}}})""",
        "THEIRS ",
    ),
    "dictConfig with mails for errors alone": (
        """logging.config.dictConfig({"version": 1,
    "handlers": {"mail": {"class": "logging.handlers.SMTPHandler", "level": "CRITICAL",
                          "mailhost": "localhost", "fromaddr": "a@b", "toaddrs": ["a@b"], "subject": "x"}},
    "root": {"handlers": ["mail"]}})""",
        "",
    ),
    "Django's LOGGING": (
        """import django.conf, django
os.environ["DJANGO_SETTINGS_MODULE"] = "none"
if not django.conf.settings.configured:
    django.conf.settings.configure(TIME_ZONE="America/Chicago", LOGGING={
        "version": 1, "disable_existing_loggers": True, """
        + HANDLERS
        + """, "root": {"handlers": ["console"], "level": "INFO"}})
django.setup()""",
        "THEIRS ",
    ),
    "fileConfig": (
        """open("log.ini", "w").write('''
[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=theirs
[logger_root]
level=WARNING
handlers=console
[handler_console]
class=StreamHandler
formatter=theirs
args=(sys.stderr,)
[formatter_theirs]
format=THEIRS %(message)s
''')
logging.config.fileConfig("log.ini")""",
        "THEIRS ",
    ),
    "basicConfig": ("logging.basicConfig(format='THEIRS %(message)s')", ""),
    "basicConfig by force": ("logging.basicConfig(format='THEIRS %(message)s', force=True)", "THEIRS "),
    "another handler of the root, as of structlog": (
        """handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("THEIRS %(message)s"))
logging.getLogger().addHandler(handler)""",
        "THEIRS ",
    ),
}
# A file is theirs; the console stays ours.
FILE = 'logging.getLogger().addHandler(logging.FileHandler("their.log"))'


def bus(configure: str, when: str) -> str:
    """A bus module that configures logging then."""
    now = "configure()" if when == "import" else ""
    before = "configure()" if when == "before_server_start" else "pass"
    return BUS.format(configure=indent(configure, "    "), now=now, before=before)


def lines(host: Process, text: str) -> list[str]:
    """The lines that hold some text, once there is one."""
    return eventually(lambda: [line for line in host.output().splitlines() if text in line], what=text)


#: Whether the shop's own line is there, and looks like theirs, where that is not as with ours.
THE_SHOPS: dict[str, list[bool]] = {
    "dictConfig that disables nothing": [],
    "dictConfig with mails for errors alone": [],
    "dictConfig of our logger": [False],
}
LATE = ["dictConfig of the root", "dictConfig of another logger"]
CASES = [(how, "import") for how in CONFIGURATIONS] + [(how, "before_server_start") for how in LATE]


@pytest.mark.parametrize(("how", "when"), CASES, ids=[f"{how} at {when}" for how, when in CASES])
def test_each_line_comes_out_once(project: Project, how: str, when: str) -> None:
    configure, start = CONFIGURATIONS[how]
    project.write("bus.py", bus(configure, when))
    host = project.host()
    assert len(lines(host, "ready: shop runs as")) == 1
    with pytest.raises(Exception, match="in a procedure"):
        project.call("shop.fail")
    project.call("shop.speak")
    (line,) = lines(host, "shop.fail (call")
    assert line.startswith("THEIRS ") is bool(start)
    shown = [line for line in host.output().splitlines() if "a line of the shop" in line]
    assert [line.startswith("THEIRS ") for line in shown] == THE_SHOPS.get(how, [bool(start)])
    project.fire("shop.sold", n=1)
    lines(host, "the listener on_sold raised")
    assert host.output().count("Traceback") == 2
    assert host.terminate() == 0
    for text in ("SIGTERM received", "stopping: no more is taken", " stopped"):
        assert len(lines(host, text)) == 1


@pytest.mark.parametrize("how", LATE)
def test_they_come_back_where_a_handler_configures_logging(project: Project, how: str) -> None:
    project.write("bus.py", bus(CONFIGURATIONS[how][0], "in a procedure"))
    host = project.host()
    project.call("shop.configure")

    def is_told() -> bool:
        with pytest.raises(Exception, match="in a procedure"):
            project.call("shop.fail")
        return "shop.fail (call" in host.output()

    eventually(is_told)


def test_a_module_that_configures_logging_and_fails_is_told_of(project: Project) -> None:
    configure = CONFIGURATIONS["dictConfig of another logger"][0]
    project.write("bus.py", bus(f"{configure}\nraise ValueError('no')", "import"))
    status, output = project.refused()
    assert status == 78 and output.count("importing the module 'bus' raised ValueError: no") == 1


def test_a_log_of_theirs_in_a_file_leaves_the_console_to_us(project: Project) -> None:
    project.write("bus.py", bus(FILE, "import"))
    host = project.host()
    assert len(lines(host, "ready: shop runs as")) == 1
    # It is written after the console's line.
    theirs = project.folder / "their.log"
    eventually(lambda: theirs.read_text().count("ready: shop runs as") == 1)


def test_a_line_that_cannot_be_made_is_told_in_one(project: Project) -> None:
    project.write("bus.py", bus('logging.getLogger("shop").error("%d apples", "many")', "import"))
    host = project.host()
    assert lines(host, "a log line can't be made: TypeError: %d format")[0].count("bus.py:5") == 1
    assert "Traceback" not in host.output()


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Code in this process sets another time zone once it has begun, as Django does."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record() -> logging.LogRecord:
    return logging.LogRecord("lightbus", logging.INFO, __file__, 1, "hello", (), None)


def test_times_for_machines_are_utc_and_say_so(far_away: None) -> None:
    line = json.loads(logs.JsonFormatter().format(record()))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert abs(datetime.fromisoformat(line["time"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_times_for_people_are_of_the_zone_in_which_the_process_began(
    far_away: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    formatter = logs.TextFormatter(colour=False)
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    made = record()
    assert formatter.format(made)[:8] == datetime.fromtimestamp(made.created, UTC).astimezone(
        ZoneInfo("Asia/Tokyo")
    ).strftime("%H:%M:%S")
