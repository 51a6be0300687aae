"""Listeners that have their inbox from the manifest, and what is told where they can't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lightbus.manifest.problems import InvalidManifest
from lightbus.testing import hosted
from tests.outbox.shop import ShopApi

from . import charging
from .conftest import Bank

MANIFEST = """\
service_name: billing
{django}listeners:
  charge:
    events: [shop.placed]
    handler: "tests.outbox.inbox.charging:charge"
    inbox: django:sqlite
"""


@pytest.fixture(autouse=True)
def nothing_charged() -> Iterator[None]:
    """Nothing is charged before, and an engine is forgotten after."""
    charging.charged.clear()
    yield
    bind = charging.Maker.kw.get("bind")
    if bind is not None:
        bind.dispose()


def written(folder: Path, *options: str, django: str = "django: true\n") -> Path:
    """The manifest, with other options of the listener in the place of its own."""
    text = MANIFEST.format(django=django)
    for option in options:
        key = option.partition(":")[0]
        text = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(f"    {key}:"))
        text += f"    {option}\n"
    (folder / "lightbus.yaml").write_text(text)
    return folder / "lightbus.yaml"


def fire(path: Path) -> None:
    """Host the manifest, and fire an event twice, and another one."""
    with hosted(ShopApi, config=path) as host:
        host.bus.shop.placed.fire_many(
            [{"number": n} for n in (1, 1, 2)], bus_options={"ids": ["a", "a", "b"]}
        )
        host.settle()


@pytest.mark.usefixtures("small_bank")
def test_a_listener_of_the_manifest_has_an_inbox_in_django(small_bank: Bank, tmp_path: Path) -> None:
    fire(written(tmp_path))
    assert charging.charged == [1, 2]
    noted = ("billing-charge", "shop.placed")
    assert small_bank.notes == [(*noted, "a"), (*noted, "b")]


def test_a_listener_of_the_manifest_has_an_inbox_in_sqlalchemy(tmp_path: Path) -> None:
    charging.engine_in(tmp_path)
    here = "tests.outbox.inbox.charging"
    fire(written(tmp_path, f'handler: "{here}:charge_in"', f'inbox: "{here}:Maker"', django=""))
    assert charging.charged == [1, 2]


@pytest.mark.parametrize(("keep", "warns"), [("10m", True), ("2h", False)])
def test_its_keep_is_compared_with_its_policy(
    small_bank: Bank, tmp_path: Path, caplog: pytest.LogCaptureFixture, keep: str, warns: bool
) -> None:
    fire(written(tmp_path, f"inbox_keep: {keep}"))
    assert ("its inbox forgets an event 600 s after it was handled" in caplog.text) is warns


HERE = "tests.outbox.inbox.charging"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["inbox: django:nothing"], "charge.inbox: Django has no database 'nothing'; DATABASES has"),
        (["inbox: nowhere"], "must be django, django:alias, or what makes SQLAlchemy's sessions as package"),
        ([f'handler: "{HERE}:awaited"'], "awaited is async def, but Django's transactions are synchronous"),
        ([f'handler: "{HERE}:decorated"'], "charge_in has an inbox already; take one of the two out"),
        ([f'inbox: "{HERE}:charge"'], "inbox() takes what makes sessions, such as sessionmaker(engine)"),
        ([f'inbox: "{HERE}:gone"'], "charge.inbox: "),
        ([f'inbox: "{HERE}:Maker"'], "charge takes no session by name; write: def charge(event_message, ses"),
        (["inbox:", "inbox_keep: 3d"], "charge.inbox_keep: means nothing without inbox; give that, too"),
        (["inbox_keep: 0"], "charge.inbox_keep: must be at least 1"),
        (["inbox_keep: 4000d"], "give a time from 1s to 3650d"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_can_not_be_an_inbox_is_told_with_its_place(
    small_bank: Bank, tmp_path: Path, options: list[str], said: str
) -> None:
    with pytest.raises(InvalidManifest) as raised:
        fire(written(tmp_path, *options))
    assert said in str(raised.value)
    assert "lightbus.yaml:" in str(raised.value)


def test_an_inbox_in_django_wants_django(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidManifest, match=r"yaml:6.*charge\.inbox: Django is not set up; write django: my"
    ):
        fire(written(tmp_path, django=""))
