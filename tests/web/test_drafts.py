"""Forms that wait until they are confirmed."""

from __future__ import annotations

from lightbus.web.access.rights import User
from lightbus.web.actions.drafts import Drafts

ANN, BOB = User("ann"), User("bob")


def test_a_form_is_had_once_by_whoever_has_filled_it_in() -> None:
    drafts = Drafts()
    key = drafts.keep({"a": ["1"]}, ANN)
    assert drafts.take(key, BOB) is None and drafts.take("none", ANN) is None
    assert drafts.look(key, BOB) is None and drafts.look(key, ANN) == {"a": ["1"]}
    assert drafts.take(key, ANN) == {"a": ["1"]}
    assert drafts.take(key, ANN) is None
    assert drafts.keep({"a": ["1"]}, ANN, key) == key and drafts.take(key, ANN) == {"a": ["1"]}


def test_no_form_is_kept_for_ever_and_not_very_many_are() -> None:
    now = 0.0
    drafts = Drafts(lambda: now)
    first = drafts.keep({}, ANN)
    now = 901.0
    assert drafts.look(first, ANN) is None and drafts.take(first, ANN) is None
    keys = [drafts.keep({"n": [str(n)]}, ANN) for n in range(101)]
    assert drafts.take(keys[0], ANN) is None and drafts.take(keys[1], ANN) == {"n": ["1"]}
