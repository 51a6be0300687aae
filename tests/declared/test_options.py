"""Options are declared once: code and manifest offer the same ones, with the same defaults."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

import pytest

import lightbus
from lightbus.declared.listener import Listener, ListenerOptions
from lightbus.declared.schedule import Schedule
from lightbus.declared.settings import ApiSettings
from lightbus.exceptions import InvalidParameters
from lightbus.manifest.keys.forms import Block, Named, keys_of
from lightbus.manifest.model import Manifest


def handle(message: object, **arguments: object) -> None:
    pass


def test_a_listener_in_code_may_have_each_option_of_one_in_the_manifest() -> None:
    elsewhere = {"events", "handler", "on_error", "enabled", "inbox", "inbox_keep"}
    bus = lightbus.create(config={})
    with pytest.raises(InvalidParameters) as caught:
        bus.client.listen_for_event("auth", "seen", handle, options={"retries": 3})
    assert str(caught.value) == (
        "listen() has no option 'retries'; it has concurrency, since, dedupe, batch, batch_wait and "
        "renamed_from"
    )
    assert {key for key in keys_of(ListenerOptions) if key not in str(caught.value)} == elsewhere
    record = bus.client.listen_for_event("auth", "seen", handle, options={"since": 1_700_000_000})
    assert record.start == "1700000000" and record.concurrency == 1


@pytest.mark.parametrize(
    ("section", "running"), [("listeners", Listener), ("schedules", Schedule), ("apis", ApiSettings)]
)
def test_what_runs_has_the_defaults_of_the_manifest(section: str, running: type[Any]) -> None:
    form = keys_of(Manifest)[section].form
    assert isinstance(form, Named) and isinstance(form.value, Block)
    keys = keys_of(form.value.cls)
    defaults = {f.name: default_of(f) for f in fields(running) if f.name in keys and f.name != "redis"}
    assert defaults == {name: keys[name].default for name in defaults}
    assert len(defaults) >= 7


def default_of(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
