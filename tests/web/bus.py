"""What is put on a bus for the console to show, as processes and their traffic would."""

from __future__ import annotations

import json
import time

from lightbus.transports.cards import (
    ApiCard,
    Card,
    ListenerCard,
    PolicyCard,
    ProcedureCard,
    Recent,
    ScheduleCard,
    write_card,
)
from tests.support.servers import Server

#: Names that would do something on a page that does not show them as text.
EVIL = (
    "<img src=x onerror=window.evil=1>",
    '"><script>window.evil=1</script>',
    "' onmouseover='window.evil=1",
    "{{ 7919 * 7907 }}",
    "javascript:window.evil=1",
    "</title><script>window.evil=1</script>",
    "\u202e<b>\u0007",
)
STREAM = "auth.*:stream"
CONTRACT = {
    "rpcs": {
        "check_password": {
            "parameters": {
                "description": "Tell whether a password is right.",
                "properties": {"username": {"type": "string"}},
                "required": ["username"],
                "additionalProperties": False,
            },
            "response": {"type": "boolean"},
        }
    },
    "events": {"user_registered": {"parameters": {"properties": {"username": {"type": "string"}}}}},
}


def show(server: Server, card: Card) -> None:
    """Put a card there, as a process does."""
    server.execute("SET", f"lightbus:card:{card.service}:{card.process}", write_card(card))
    server.execute("ZADD", "lightbus:cards", time.time() + 600, f"{card.service}\0{card.process}")


def show_group(server: Server, group: str, stream: str = STREAM) -> None:
    """Make a group, as a listener does."""
    server.execute("XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
    server.execute("SADD", "lightbus:streams", stream)


def shop(server: Server) -> None:
    """Two services: accounts owns an API, which web calls and shop listens to; a group is left behind."""
    now = time.time()
    failing = Recent(outcomes={"ok": 40, "error": 2}, p50=0.01, p95=0.2, longest=1.5)
    owner = Card(
        service="accounts",
        process="accounts-1",
        version="3.2",
        lightbus="2.0.0",
        python="3.12.1",
        pid=4711,
        host="web-1",
        started_at=now - 7200,
        kind="host",
        apis=(ApiCard(name="auth"),),
        procedures=(
            ProcedureCard(
                api="auth",
                name="check_password",
                handler="accounts:Auth.check",
                file="accounts.py",
                line=12,
                recent=failing,
            ),
        ),
        fires={"auth.user_registered": 1204},
    )
    show(server, owner)
    server.execute("SADD", "schemas", "auth")
    server.execute("SET", "schema:auth", json.dumps(CONTRACT))
    show(
        server, Card(service="web", process="web-1", calls={"auth.check_password": 412}, started_at=now - 60)
    )
    mailer = ListenerCard(
        name="mailer",
        group="shop-mailer",
        events=("auth.user_registered",),
        handler="shop.mail:send",
        file="shop/mail.py",
        line=30,
        policy=PolicyCard(attempts=8, then="dead_letter", initial=1.0, longest=900.0),
        concurrency=4,
        dedupe=3600.0,
        running=1,
        recent=Recent(outcomes={"ok": 7, "error": 1}, p50=0.05, p95=0.4, longest=2.0),
    )
    nightly = ScheduleCard(
        name="close",
        times="at 02:00",
        timezone="Europe/London",
        next_run=now + 5400,
        started=now - 300,
        seconds=0.25,
        outcome="error",
        # So nobody who pauses it has to wait until it is heeded, by processes that are not there.
        is_paused=True,
    )
    for version, number in (("1.4", 1), ("1.5", 2)):
        show(
            server,
            Card(
                service="shop",
                process=f"shop-{number}",
                version=version,
                kind="host",
                obstacles=("the mail server is away",) if number == 2 else (),
                started_at=now - 900,
                listeners=(mailer,),
                schedules=(nightly,),
            ),
        )
    show_group(server, "shop-mailer")
    show_group(server, "shop-welcome")
    for number in range(3):
        server.execute("XADD", STREAM, "*", "api_name", "auth", "event_name", "user_registered", "id", number)


def evil(server: Server) -> None:
    """Names and words of strangers, wherever a process or a broker may have them."""
    recent = Recent(outcomes={"ok": 1, "error": 2, EVIL[0]: 3}, p95=0.1)
    for number, name in enumerate(EVIL):
        listener = ListenerCard(
            name=name,
            group=f"{name}-{name}",
            events=(f"{name}.{name}",),
            handler=name,
            file=name,
            policy=PolicyCard(attempts=3, then=name),
            renamed_from=name,
            trouble=name,
            recent=recent,
        )
        schedule = ScheduleCard(name=name, times=name, timezone=name, scope=name, outcome="ok", next_run=1e12)
        card = Card(
            service=name,
            process=f"{name}{number}",
            version=name,
            lightbus=name,
            python=name,
            host=name,
            pid=1,
            kind="host",
            obstacles=(name,),
            apis=(ApiCard(name=name),),
            listeners=(listener,),
            procedures=(ProcedureCard(api=name, name=name, handler=name, file=name, recent=recent),),
            schedules=(schedule,),
            calls={f"{name}.{name}": 1},
            fires={f"{name}.{name}": 1},
        )
        show(server, card)
        server.execute("SADD", "schemas", name)
        described = {"description": name, "properties": {name: {"description": name, "enum": [name]}}}
        procedure = {"parameters": described, "response": {"title": name, "type": "string"}}
        contract = {
            "description": name,
            "rpcs": {name: procedure},
            "events": {name: {"parameters": described}},
        }
        server.execute("SET", f"schema:{name}", json.dumps(contract))
        show_group(server, f"{name}-{name}", f"{name}.*:stream")
