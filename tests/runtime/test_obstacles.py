"""What keeps a process from its work."""

from lightbus.runtime.obstacles import Obstacles


def test_an_obstacle_is_news_once_and_stays_until_it_is_cleared() -> None:
    obstacles = Obstacles()
    assert obstacles.meet(("task", "a"), "a has ended")
    assert not obstacles.meet(("task", "a"), "a has ended twice")
    assert list(obstacles) == ["a has ended twice"]
    assert obstacles.clear(("task", "a"))
    assert not obstacles.clear(("task", "a"))
    assert list(obstacles) == []
