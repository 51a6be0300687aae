"""All pages and actions of the console: each has one line here."""

from __future__ import annotations

from collections.abc import Sequence

from .actions import dead_letters, groups, pauses, runs, tries
from .actions import events as event_actions
from .actions.action import Action
from .asking import Screen, View
from .pages import (
    apis,
    audit,
    calls,
    dead,
    events,
    graph,
    home,
    listeners,
    metrics,
    schedules,
    services,
    tail,
)
from .pages.trying import page as trying

#: The pages that show the last look at the bus.
VIEWS: Sequence[View] = (
    View(path="/", template="home.html", title="Overview", make=home.home, shows_letters=True),
    View(path="/services/{name:path}", template="service.html", title="Service", make=services.service),
    View(path="/apis/{name:path}", template="api.html", title="API", make=apis.api),
    View(path="/listeners", template="listeners.html", title="Listeners", make=listeners.table),
    View(path="/listeners/{name:path}", template="listener.html", title="Listener", make=listeners.listener),
    View(path="/calls", template="calls.html", title="Calls", make=calls.calls),
    View(path="/schedules", template="schedules.html", title="Schedules", make=schedules.schedules),
    View(path="/graph", template="graph.html", title="Graph", make=graph.graph),
)
#: The pages that ask the bus themselves, in the order in which their addresses are compared.
SCREENS: Sequence[Screen] = (
    *events.SCREENS,
    *tail.SCREENS,
    *dead.SCREENS,
    *trying.SCREENS,
    *audit.SCREENS,
    *metrics.SCREENS,
)
#: What may be done.
ACTIONS: Sequence[Action] = (
    *pauses.ACTIONS,
    *groups.ACTIONS,
    *runs.ACTIONS,
    *dead_letters.ACTIONS,
    *event_actions.ACTIONS,
    *tries.ACTIONS,
)
#: The pages that each page leads to, with the words that do so.
NAVIGATION: Sequence[tuple[str, str]] = (
    ("/", "Overview"),
    ("/listeners", "Listeners"),
    ("/events", "Events"),
    ("/dead", "Dead letters"),
    ("/calls", "Calls"),
    ("/schedules", "Schedules"),
    ("/graph", "Graph"),
    ("/audit", "Audit"),
)
