"""Ways through the console by keyboard alone, each from a page to what is done in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Page

from tests.support.eventually import eventually
from tests.web.browser import IS_SEEN, SECRET, Bus, follow, reach, section, sent, show, write
from tests.web.bus import STREAM, show_group

#: Looks for faults of accessibility in a page.
Look = Callable[[Page], None]


def to_letters(bus: Bus, page: Page) -> None:
    """Go from the first page of dead letters to those that have something in common."""
    letters = "main th a[href^='/dead/list']"
    show(page, f"{bus.address}/dead", letters)
    follow(page, letters)


def to_a_letter(bus: Bus, page: Page) -> None:
    """Go from the first page of dead letters to one of them."""
    to_letters(bus, page)
    follow(page, "main td a[href^='/dead/letter']")


def edit_a_letter(bus: Bus, page: Page, look: Look) -> None:
    """Edit a letter, first so that it does not fit."""
    to_a_letter(bus, page)
    write(page, "#kwargs", '{"username": 1, "email": "•••"}')
    reach(page, "section[aria-labelledby=edit] button")
    assert "username" in sent(page, "[role=alert]"), "it has to fit the contract"
    look(page)
    write(page, "#f-kwargs", '{"username": "better", "email": "•••"}')
    write(page, "#because", "it was misspelled")
    assert "was edited, and shop-mailer gets it now" in sent(page, ".said")
    # What was done is told at the top, where a reader goes on.
    page.wait_for_selector("#page:focus")


def replay_a_letter(bus: Bus, page: Page) -> None:
    """Replay a letter as it is."""
    to_a_letter(bus, page)
    reach(page, "form[action='/actions/replay'] button")
    assert "shop-mailer" in sent(page, ".said")


def reveal_a_letter(bus: Bus, page: Page, look: Look) -> None:
    """Reveal what is hidden in a letter."""
    to_a_letter(bus, page)
    assert SECRET not in page.content()
    follow(page, "a[href^='/actions/reveal']")
    write(page, "#because", "a customer has asked")
    assert "the audit has that you have seen it" in sent(page, ".said")
    assert SECRET in page.content()
    look(page)


def find_an_event_and_reveal_it(bus: Bus, page: Page, look: Look) -> None:
    """Search events by what is in them, and reveal what is hidden in the one that is found."""
    bus.fire("seen")
    page.goto(f"{bus.address}/events")
    write(page, "#where", "username=seen")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator("main tbody tr").count() == 1
    follow(page, "main td a[href^='/events/of-seen']")
    assert SECRET not in page.content()
    follow(page, "a[href^='/actions/reveal_event']")
    write(page, "#because", "another one, too")
    assert "the audit has that you have seen it" in sent(page, ".said")
    assert SECRET in page.content()
    look(page)


def drop_a_letter(bus: Bus, page: Page) -> None:
    """Drop a letter, once that is confirmed."""
    letter = bus.put_aside()
    to_a_letter(bus, page)
    follow(page, "a[href^='/actions/drop']")
    assert "It is gone for good" in page.locator(".plan").inner_text()
    reach(page, "button.grave")
    assert "was dropped" in sent(page, ".said")
    assert letter not in bus.letters()


def drop_many(bus: Bus, page: Page, look: Look) -> None:
    """Drop all letters of a kind, once their number was typed."""
    bus.put_aside()
    to_letters(bus, page)
    follow(page, "a[href^='/actions/drop_many']")
    count = len(bus.letters())
    write(page, "#because", "nobody needs them")
    write(page, "#confirmed", str(count + 1))
    assert "if you mean it" in sent(page, "[role=alert]")
    look(page)
    assert len(bus.letters()) == count
    write(page, "#confirmed", str(count))
    assert f"{count} dead letter" in sent(page, ".said")
    eventually(lambda: bus.letters() == [], 60)


def watch_events(bus: Bus, page: Page, look: Look) -> None:
    """Watch events come, stop and go on, and choose some."""
    page.goto(f"{bus.address}/tail")

    def comes(name: str) -> None:
        # Again and again: it takes a moment until somebody who comes is served.
        def is_seen() -> bool:
            bus.fire(name)
            return f"of-{name}" in page.locator("#tail").inner_text()

        eventually(is_seen, 60)

    comes("one")
    reach(page, "#pause")
    page.keyboard.press("Enter")
    page.wait_for_selector("#pause[aria-pressed=true]")
    bus.fire("unseen")
    eventually(lambda: re.search(r"[1-9]\d* came since", page.locator("#passed").inner_text()), 60)
    assert "of-unseen" not in page.locator("#tail").inner_text()
    look(page)
    page.keyboard.press("Space")
    page.wait_for_selector("#pause[aria-pressed=false]")
    comes("two")
    write(page, "#where", "username=four")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    bus.fire("three")
    comes("four")
    assert "of-three" not in page.locator("#tail").inner_text()


def open_an_event_and_fire_it_again(bus: Bus, page: Page, look: Look) -> None:
    """Fire an event again by the form that is filled in like it."""
    page.goto(f"{bus.address}{bus.fire('again')}")
    follow(page, "a[href^='/try/']")
    assert '"username": "again"' in page.locator("textarea[name=json]").input_value()
    reach(page, "form.try button")
    told = sent(page, ".plan")
    assert "mailer of shop" in told and SECRET not in page.content()
    look(page)
    before = bus.server.execute("XLEN", STREAM)
    write(page, "#because", "it was lost")
    assert "It was fired" in sent(page, ".said")
    look(page)
    assert bus.server.execute("XLEN", STREAM) == before + 1
    newest = bus.server.execute("XREVRANGE", STREAM, "+", "-", "COUNT", "1")[0][1]
    assert json.dumps(SECRET).encode() in newest, "what is hidden was taken along"


def call(bus: Bus, page: Page, look: Look) -> None:
    """Call a procedure that ends well, and one that does not."""
    page.goto(f"{bus.address}/apis/auth")
    follow(page, "a[href='/try/auth.find']")
    write(page, "[name='/username']", "Ann")
    reach(page, "[name='/kind']")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    write(page, "[name='/tags']", "a\nb")
    write(page, "[name='/address/city']", "Rome")
    reach(page, "form.try button")
    assert "Ann is a robot" in sent(page, "section[aria-labelledby=result]")
    assert "lightbus call auth.find" in section(page, "elsewhere")
    look(page)
    page.goto(f"{bus.address}/try/auth.check_password")
    write(page, "[name='/username']", "nobody")
    assert "did not end well" in sent(page, "[role=alert]")
    look(page)


def pause_and_resume(bus: Bus, page: Page, look: Look) -> None:
    """Pause a listener, and let it go on."""
    page.goto(f"{bus.address}/listeners")
    follow(page, "main a[href='/listeners/shop-mailer']")
    follow(page, "a[href^='/actions/pause']")
    write(page, "#f-until", "2h")
    write(page, "#because", "it sends too much")
    assert "shop-mailer is paused until" in sent(page, ".said")
    assert urlsplit(page.url).path == "/listeners/shop-mailer"
    page.wait_for_selector("#page:focus")
    page.wait_for_selector("text=It is paused")
    look(page)
    page.reload()
    reach(page, "form[action='/actions/resume'] button")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=shop-mailer goes on")
    # It renews itself, and what was done stays told.
    page.evaluate("document.querySelector('h1').dataset.old = '1'")
    page.wait_for_selector("h1:not([data-old])")
    assert "goes on" in page.locator(".said").inner_text()


def run_a_schedule(bus: Bus, page: Page) -> None:
    """Run a schedule now."""
    page.goto(f"{bus.address}/schedules")
    assert "the last one that was missed is made up for" in page.locator("main").inner_text()
    reach(page, "form[action='/actions/run_schedule'] button")
    assert "close of shop was begun by shop-1" in sent(page, ".said")


def change_a_group(bus: Bus, page: Page) -> None:
    """Let a group read on from elsewhere, and remove it."""
    page.goto(f"{bus.address}/listeners/shop-welcome")
    follow(page, "a[href^='/actions/seek']")
    write(page, "#f-to", "end")
    assert "reads on with the next event" in sent(page, ".plan")
    reach(page, "button.grave")
    assert "reads on from end" in sent(page, ".said")
    follow(page, "a[href^='/actions/remove']")
    write(page, "#because", "nobody needs it")
    assert "was removed" in sent(page, ".said")
    show_group(bus.server, "shop-welcome")


def turn_the_pages_of_a_long_table(bus: Bus, page: Page, look: Look) -> None:
    """Go to the second page of a table, and find one of its rows by name."""
    many = [f"shop-many{number:03}" for number in range(101)]
    for group in many:
        show_group(bus.server, group, "many.*:stream")
    try:
        show(page, f"{bus.address}/listeners", "nav.pages a")
        follow(page, "nav.pages a")
        assert page.locator("nav.pages span").inner_text().startswith("101 to ")
        look(page)
        write(page, "#find", "MANY042")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.locator("main tbody tr").count() == 1
        look(page)
    finally:
        bus.server.execute("DEL", "many.*:stream")
        bus.server.execute("SREM", "lightbus:streams", "many.*:stream")


def _is_back(page: Page, path: str, start: str) -> None:
    """See that somebody is on a page again, with the focus on the link or button that led away."""
    page.wait_for_url(lambda url: urlsplit(url).path == path)
    page.wait_for_selector(f"[id^='{start}']:focus")


def escape(bus: Bus, page: Page) -> None:
    """Leave a search, what lies open, and forms by Escape; nothing is lost that was written in a form."""
    page.goto(f"{bus.address}/events")
    write(page, "#where", "username=nobody")
    page.keyboard.press("Escape")
    page.wait_for_selector("#page:focus")
    assert page.locator("#where").input_value() == "" and urlsplit(page.url).path == "/events"
    page.goto(f"{bus.address}/listeners/shop-mailer")
    follow(page, "a[href^='/actions/pause']")
    page.wait_for_selector("a.leave")
    page.keyboard.press("Escape")
    _is_back(page, "/listeners/shop-mailer", "a-pause-shop-mailer")
    # It is scrolled to once the page is there.
    page.wait_for_function(IS_SEEN)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    write(page, "#because", "it sends too much")
    page.keyboard.press("Escape")
    page.wait_for_selector("a.leave:focus")
    assert page.locator("#because").input_value() == "it sends too much"
    page.keyboard.press("Enter")
    _is_back(page, "/listeners/shop-mailer", "a-pause-shop-mailer")
    _escape_from_a_form(bus, page)


def _escape_from_a_form(bus: Bus, page: Page) -> None:
    """Leave the question whether an event is meant, and what lies open in the form."""
    page.goto(f"{bus.address}/try/auth.user_registered")
    write(page, "[name='/username']", "ann")
    write(page, "#version", "3")
    reach(page, "form.try button")
    assert "in version 3" in sent(page, ".plan")
    page.keyboard.press("Escape")
    _is_back(page, "/try/auth.user_registered", "a-fire-auth.user_registered")
    values = [page.locator(each).input_value() for each in ("[name='/username']", "#version")]
    assert values == ["ann", "3"], "the form is as it was"
    reach(page, "summary")
    page.keyboard.press("Enter")
    page.wait_for_selector("details[open]")
    page.keyboard.press("Tab")
    page.keyboard.insert_text("{}")
    page.keyboard.press("Escape")
    assert page.locator("details[open] textarea").input_value() == "{}", "what was written stays in sight"
    reach(page, "summary")
    page.keyboard.press("Escape")
    page.wait_for_selector("details:not([open]) summary:focus")


def stay_where_one_reads(bus: Bus, page: Page) -> None:
    """Skip to the content and scroll on, then write and go on to the button: no renewal undoes that."""
    page.set_viewport_size({"width": 390, "height": 300})
    page.goto(f"{bus.address}/graph")
    reach(page, ".skip")
    page.keyboard.press("Enter")
    page.wait_for_selector("#page:focus")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    place = page.evaluate("scrollY")
    assert place > 0
    page.evaluate("document.querySelector('h1').dataset.old = '1'")
    page.wait_for_selector("h1:not([data-old])")
    assert page.evaluate("scrollY") == place
    page.set_viewport_size({"width": 1280, "height": 900})
    reach(page, "#focus")
    page.keyboard.type("shop")
    reach(page, "form.focus button")
    page.evaluate(
        "document.addEventListener('htmx:beforeRequest', (e) => { window.refused = e.defaultPrevented })"
    )
    eventually(lambda: page.evaluate("window.refused === true"), 60)
    assert page.locator("#focus").input_value() == "shop"
