"""Times and numbers as people read them on a page."""

from __future__ import annotations

import pytest

from lightbus.web.words import times


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("* * * * * (Europe/London)", "every minute (Europe/London)"),
        ("*/5 * * * *", "every 5 min"),
        ("5 * * * *", "each hour at 5 min past"),
        ("0 2 * * * (UTC)", "each day at 02:00 (UTC)"),
        ("30 8 * * 1-5", "Monday to Friday at 08:30"),
        ("0 0 * * 7", "each Sunday at 00:00"),
        ("0 0 1 * *", "on day 1 of each month at 00:00"),
        # Not every seven minutes: it begins anew with each hour.
        *((each, each) for each in ("*/7 * * * *", "*/0 * * * *", "0 9-17 * * *", "0 0 1 1 *", "0 0 1 * 1")),
        *((each, each) for each in ("0 0 * * 12", "0 0 * * 1-", "0 0 * * -", "0 0 * * mon", "0 0 * * 1,2")),
        *((each, each) for each in ("every 30 s", "at 02:00 (Europe/London)", "", "\u00b2 2 * * *")),
    ],
)
def test_times_of_cron_are_said_in_words_where_few_do(cron: str, told: str) -> None:
    assert times(cron) == told
