"""How fast listeners go and how far behind they are, from looks at them."""

from __future__ import annotations

from dataclasses import replace

from lightbus.insight.listeners import ListenerStatus
from lightbus.insight.traffic.pace import Pace, Paces
from lightbus.transports.groups import Held


def listener(fired: int | None, read: int | None, name: str = "mailer") -> ListenerStatus:
    """A listener that has read so many of so many events."""
    lag = (fired or 0) - (read or 0)
    return ListenerStatus("shop", name, "a.*:stream", lag, True, 0, 0, 0, (), fired=fired, read=read)


def paced(*looks: tuple[float, int | None, int | None]) -> Pace:
    """Its pace after these looks: when, fired and read."""
    paces = Paces()
    for at, fired, read in looks:
        paces.note(at, [listener(fired, read)])
    return paces.of(listener(*looks[-1][1:]))


def test_one_look_tells_no_rate() -> None:
    assert paced((0, 10, 10)) == Pace(None, None, 0.0)
    assert paced((0, 10, 5)) == Pace(None, None, 0.0, is_least=True)


def test_rates_are_those_of_the_last_minute() -> None:
    assert paced((0, 0, 0), (10, 100, 50)) == Pace(10.0, 5.0, 10.0)
    assert paced((0, 0, 0), (100, 900, 900), (150, 1000, 950)).fired == 2.0


def test_a_listener_is_behind_since_the_oldest_event_was_fired_that_it_has_not_read() -> None:
    assert paced((0, 10, 10), (5, 20, 10), (10, 30, 10), (15, 30, 20)).behind == 10
    assert paced((0, 10, 10), (5, 20, 10), (10, 30, 30)).behind == 0


def test_a_listener_that_was_behind_before_is_so_for_longer_than_that() -> None:
    assert paced((0, 20, 10), (30, 20, 15)) == Pace(0.0, 5 / 30, 30, is_least=True)


def test_what_is_not_known_is_not_guessed() -> None:
    assert paced((0, None, None), (5, None, None)).fired is None
    assert paced((0, 5, None)).behind is None


def test_a_stream_that_was_made_anew_is_another_one() -> None:
    assert paced((0, 1000, 900), (5, 3, 3)) == Pace(None, None, 0.0)


def test_looks_are_kept_for_an_hour_and_those_of_a_group_that_is_gone_not_at_all() -> None:
    paces = Paces()
    for at in range(0, 7300, 100):
        paces.note(at, [listener(20, 10)])
    assert paces.of(listener(20, 10)).behind == 3600
    paces.note(7400, [listener(1, 1, "other")])
    assert paces.of(listener(20, 10)).behind is None


def test_an_hour_of_a_listener_is_that_of_all_its_streams() -> None:
    paces = Paces()
    for at in range(0, 50, 10):
        one, two = listener(at, at // 2), listener(2 * at, 2 * at, "other")
        paces.note(at, [one, two])
    points = paces.series([one, two], 100)
    assert [(each.at, each.lag) for each in points] == [(0, 0), (10, 5), (20, 10), (30, 15), (40, 20)]
    assert (points[0].fired, points[1].fired, points[1].read) == (None, 3.0, 2.5)


def test_a_stream_that_came_later_makes_no_peak() -> None:
    paces, one, two = Paces(), listener(1, 1), listener(1_000_000, 0, "other")
    paces.note(0, [one])
    for at in (10, 20):
        paces.note(at, [one, two])
    assert [(each.at, each.fired) for each in paces.series([one, two], 100)] == [(10, None), (20, 0.0)]


def test_a_long_hour_has_no_more_points_than_are_wanted_and_the_last_look() -> None:
    paces = Paces()
    for at in range(0, 3500, 5):
        paces.note(at, [listener(at, at)])
    points = paces.series([listener(1, 1)], 180)
    assert 170 < len(points) <= 180 and points[-1].at == 3495 and points[-1].fired == 1.0
    assert paces.series([], 180) == []


def test_an_event_is_held_since_it_was_first_seen_with_its_process() -> None:
    paces = Paces()

    def held(at: float, process: str) -> Pace:
        it = replace(listener(5, 5), held=Held("1-0", process, 0.0))
        paces.note(at, [it])
        return paces.of(it)

    assert (held(10.0, "p1").held, held(10.0, "p1").held_is_least) == (0.0, True)
    assert (held(40.0, "p1").held, held(40.0, "p1").held_is_least) == (30.0, True)
    assert (held(50.0, "p2").held, held(50.0, "p2").held_is_least) == (0.0, False)
    assert held(75.0, "p2").held == 25.0
    paces.note(80.0, [listener(5, 5)])
    assert paces.of(listener(5, 5)).held is None
