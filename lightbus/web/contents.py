"""All pages and actions of the console: each has one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightbus.insight.traffic.pace import Paces

from .actions import dead_letters, groups, pauses, runs, tries
from .actions.action import Action
from .asking import Screen
from .looks import Look
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

#: Makes what a page shows of a look at the bus and of the name in its address; None if there is none such.
Make = Callable[[Look, Paces, str], Any]
#: The address, template and title of each page that shows what is on the bus, and what makes it.
PAGES: Sequence[tuple[str, str, str, Make]] = (
    ("/", "home.html", "Overview", home.home),
    ("/services/{name:path}", "service.html", "Service", services.service),
    ("/apis/{name:path}", "api.html", "API", apis.api),
    ("/listeners", "listeners.html", "Listeners", listeners.listeners),
    ("/listeners/{name:path}", "listener.html", "Listener", listeners.listener),
    ("/calls", "calls.html", "Calls", calls.calls),
    ("/schedules", "schedules.html", "Schedules", schedules.schedules),
    ("/graph", "graph.html", "Graph", graph.graph),
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
