"""Who calls whom, and the life of an event with its retries and its dead letters."""

from __future__ import annotations

from .canvas import Drawing


def calls_and_events() -> Drawing:
    """A call is answered by one process of the owner; an event goes to each service that listens."""
    drawing = Drawing(
        "Who calls whom",
        "A call goes through Redis to one process of the service that owns the API, and its answer comes "
        "back. An event goes through Redis to every service that listens, to one process of each.",
        760,
        430,
    )
    drawing.area(8, 8, 744, 196, "A call: one process of the owner answers, or the caller gets an error")
    drawing.box(24, 72, 190, 72, "your web app", "a view, a script, a test")
    drawing.box(322, 72, 116, 72, "Redis", "calls that wait")
    drawing.box(556, 44, 180, 62, "service auth", "process 1")
    drawing.box(556, 122, 180, 62, "service auth", "process 2")
    drawing.words(268, 64, "`check_password()`")
    drawing.arrow((214, 96), (320, 96))
    drawing.arrow((438, 96), (497, 96), (497, 75), (554, 75))
    drawing.arrow((554, 90), (510, 90), (510, 124), (440, 124), dashed=True)
    drawing.arrow((322, 124), (216, 124), dashed=True)
    drawing.words(268, 142, "True")
    drawing.area(8, 220, 744, 202, "An event: each service that listens gets it, in one of its processes")
    drawing.box(24, 288, 190, 72, "service auth", "owns the API, so it may fire")
    drawing.box(322, 288, 116, 72, "Redis", "stores events")
    drawing.box(556, 256, 180, 68, "service mailer", "`send_welcome_email()`")
    drawing.box(556, 340, 180, 68, "service crm", "`add_contact()`")
    drawing.words(268, 278, "`user_registered`")
    drawing.arrow((214, 324), (320, 324))
    drawing.arrow((438, 314), (497, 314), (497, 290), (554, 290))
    drawing.arrow((438, 334), (497, 334), (497, 374), (554, 374))
    return drawing


def life_of_an_event() -> Drawing:
    """From fire() to done, with the ways that a failure takes."""
    drawing = Drawing(
        "The life of an event",
        "An event is stored, then read by the group of each listener, then handled and acknowledged. If the "
        "handler raises, the event waits in Redis and runs again. If its process dies, another process takes "
        "it over. After 8 attempts or 3 deaths it becomes a dead letter, which can be replayed or dropped.",
        760,
        470,
    )
    drawing.box(24, 24, 130, 60, "`fire()`", "returns an id")
    drawing.box(230, 24, 150, 60, "stored", "in the API's stream")
    drawing.box(456, 24, 280, 60, "read", "by the group of each listener, once")
    drawing.arrow((154, 54), (228, 54))
    drawing.arrow((380, 54), (454, 54))
    drawing.area(220, 116, 532, 96, "one process holds its lease")
    drawing.box(456, 146, 280, 52, "the handler runs", "for as long as it takes")
    drawing.box(236, 146, 144, 52, "acknowledged", "done", kind="good")
    drawing.arrow((596, 84), (596, 144))
    drawing.arrow((456, 172), (382, 172))
    drawing.words(418, 164, "returns")
    drawing.box(446, 268, 140, 64, "waits in Redis", "1 s, 4 s, 16 s …", kind="wait")
    drawing.box(622, 268, 114, 64, "waits for", "its lease to end", kind="wait")
    drawing.arrow((500, 198), (500, 266))
    drawing.words(492, 244, "raises", anchor="end")
    drawing.arrow((650, 198), (650, 266))
    drawing.words(642, 244, "process dies", anchor="end")
    drawing.arrow((534, 268), (534, 200), dashed=True)
    drawing.arrow((712, 268), (712, 200), dashed=True)
    drawing.box(456, 388, 280, 58, "dead letter", "with its error, its attempts, its origin", kind="bad")
    drawing.arrow((520, 332), (520, 386))
    drawing.words(512, 364, "raises, 8th time", anchor="end")
    drawing.arrow((680, 332), (680, 386))
    drawing.words(672, 364, "3rd death", anchor="end")
    drawing.box(24, 388, 200, 58, "`lightbus dlq replay`", "runs it again, from the start")
    drawing.arrow((456, 417), (226, 417), dashed=True)
    drawing.words(340, 408, "the handler is mended")
    drawing.arrow((124, 388), (124, 232), (430, 232), (430, 186), (454, 186), dashed=True)
    return drawing


def retries() -> Drawing:
    """The attempts of the default policy, and the waits between them."""
    drawing = Drawing(
        "Retries by the default policy",
        "Eight attempts. The waits between them are 1 second, 4, 16, 64 seconds, 4 minutes 16 seconds, and "
        "twice 15 minutes. After the last one the event becomes a dead letter.",
        760,
        190,
    )
    drawing.words(
        24, 28, "The handler raises each time: attempts, and the waits between them", anchor="start"
    )
    waits = ["1 s", "4 s", "16 s", "1 min", "4 min", "15 min", "15 min", ""]
    for attempt, wait in enumerate(waits, 1):
        left = 24 + 78 * (attempt - 1)
        drawing.box(left, 52, 38, 38, str(attempt), kind="r")
        drawing.arrow((left + 38, 71), (left + 76, 71))
        drawing.words(left + 57, 108, wait)
    drawing.box(642, 44, 110, 54, "dead letter", "18 to 36 min", kind="bad")
    drawing.arrow((43, 90), (43, 132), (120, 132), dashed=True)
    drawing.box(122, 122, 240, 54, "acknowledged", "at whichever attempt it returns", kind="good")
    drawing.box(
        424, 122, 324, 54, "other events go on meanwhile", "what waits is kept in Redis, not in a process"
    )
    return drawing
