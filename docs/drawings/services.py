"""Who owns an API, and a restart that nobody notices."""

from __future__ import annotations

from .canvas import Drawing


def ownership() -> Drawing:
    """One service owns an API; a second one that wants it is refused."""
    drawing = Drawing(
        "Who owns an API",
        "The processes of the service auth hold the lease of the API auth together. They answer its "
        "calls and fire its events. Other services call and listen. A service that wants to own it as "
        "well is refused.",
        760,
        330,
    )
    drawing.box(290, 24, 180, 70, "API auth", "one owner, one contract")
    drawing.area(24, 150, 330, 164, "service auth")
    drawing.box(44, 184, 140, 56, "process 1", "holds the lease", kind="good")
    drawing.box(194, 184, 140, 56, "process 2", "holds it as well", kind="good")
    drawing.words(189, 270, "answers its calls and fires its events")
    drawing.words(189, 292, "The lease ends 60 s after a crash.")
    drawing.arrow((189, 150), (189, 59), (288, 59))
    drawing.words(180, 120, "owns", anchor="end")
    drawing.box(382, 184, 160, 70, "service web", "calls and listens")
    drawing.arrow((420, 182), (420, 96), dashed=True)
    drawing.words(430, 150, "uses", anchor="start")
    drawing.box(576, 184, 160, 70, "service copy", "wants to own it, too", kind="bad")
    drawing.arrow((656, 182), (656, 59), (472, 59))
    drawing.words(664, 120, "refused", anchor="start")
    drawing.words(656, 278, "ends with status 78 and")
    drawing.words(656, 296, "names the owner")
    return drawing


def rolling_restart() -> Drawing:
    """Two processes of a service are replaced one by one; no call fails."""
    drawing = Drawing(
        "A rolling restart",
        "The new process starts and becomes ready. Then the old one gets SIGTERM: it takes nothing more, "
        "finishes what runs within 25 seconds, hands back what it has not started, and ends with status 0. "
        "Another process of the service serves all the time.",
        760,
        300,
    )
    drawing.words(16, 47, "new process", kind="n", anchor="start")
    drawing.box(150, 12, 120, 60, "starts", "`/readyz` 503", kind="wait")
    drawing.box(270, 12, 420, 60, "serves", "`/readyz` 200", kind="good")
    drawing.words(16, 135, "old process", kind="n", anchor="start")
    drawing.box(150, 100, 170, 60, "serves", "`/readyz` 200", kind="good")
    drawing.box(320, 100, 250, 60, "finishes what runs", "takes nothing more, at most 25 s", kind="wait")
    drawing.box(570, 100, 120, 60, "ended", "status 0")
    drawing.line((320, 84), (320, 176), dashed=True)
    drawing.words(320, 194, "SIGTERM")
    drawing.words(16, 247, "other process", kind="n", anchor="start")
    drawing.box(
        150, 212, 540, 60, "serves", "and gets what the old process fetched and did not start", kind="good"
    )
    drawing.arrow((445, 160), (445, 210))
    drawing.words(454, 190, "handed back at once", anchor="start")
    drawing.arrow((150, 288), (690, 288))
    drawing.words(700, 292, "time", anchor="start")
    return drawing
