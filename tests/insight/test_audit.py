"""Acts are noted before and after they are done, and can be read and followed, without a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from lightbus.bus.client import BusClient
from lightbus.exceptions import (
    AuditRefused,
    GroupRefused,
    InvalidParameters,
    TransportError,
    TransportUnavailable,
)
from lightbus.insight import audit
from lightbus.insight.audit import Actor, Wanted, acting, acts, follow
from lightbus.testing import hosted
from lightbus.transports.audit import Act
from tests.testing.shop import StoreApi

ANN = Actor(user="ann@box", role="ops", origin="console", address="10.0.0.1", reason="they said so")


@asynccontextmanager
async def a_bus() -> AsyncIterator[BusClient]:
    async with hosted(StoreApi, config={"service_name": "store"}) as host:
        yield host.bus.client


async def entries(client: BusClient) -> Sequence[Act]:
    """All entries, the oldest first: two of each act."""
    return await client.transports().schema().acts_after("")


async def test_an_act_is_noted_before_and_after_it() -> None:
    async with a_bus() as client:
        async with acting(client, ANN, "dlq.replay", "shop-send", {"reason": "failed"}) as doing:
            (begun,) = await entries(client)
            assert (begun.outcome, begun.count, begun.seconds) == ("begun", None, None)
            for number in range(60):
                doing.did(f"{number}-0")
        _, ended = await entries(client)
        assert ended.act == begun.act and ended.id != begun.id
        assert (ended.outcome, ended.count, len(ended.ids), ended.ids[0]) == ("done", 60, 50, "0-0")
        told = (ended.user, ended.role, ended.origin, ended.address, ended.reason)
        assert told == (ANN.user, ANN.role, ANN.origin, ANN.address, ANN.reason)
        assert (ended.action, ended.target, ended.chosen) == ("dlq.replay", "shop-send", {"reason": "failed"})
        assert ended.seconds is not None
        assert await acts(client) == [ended], "one of them stands for both"


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (GroupRefused("p1 reads it"), "refused", "p1 reads it"),
        (TransportUnavailable("it is away"), "failed", "it is away"),
        (ValueError("card 4711"), "failed", "ValueError"),
        (asyncio.CancelledError(), "stopped", ""),
        (GeneratorExit(), "stopped", ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_what_ends_an_act_is_noted_and_goes_on(error: BaseException, outcome: str, told: str) -> None:
    async with a_bus() as client:
        with pytest.raises(type(error)):
            async with acting(client, ANN, "group.rm", "shop-send") as doing:
                doing.did("shop.*:stream")
                raise error
        (act,) = await acts(client)
        assert (act.outcome, act.error, act.count) == (outcome, told, 1)


async def test_of_a_process_that_was_killed_it_is_known_what_it_began() -> None:
    async with a_bus() as client:
        schema = client.transports().schema()
        await schema.note_act(Act(act="1", user="ann@box", action="dlq.drop", target="shop-send"))
        (act,) = await acts(client)
        assert (act.action, act.outcome) == ("dlq.drop", "begun")


async def test_without_anybody_nothing_is_noted() -> None:
    async with a_bus() as client:
        async with acting(client, None, "dlq.replay", "shop-send") as doing:
            doing.did("1-1")
        assert list(await entries(client)) == []


def let_refuse(client: BusClient, error: Exception | None, *, keeps: int = 0) -> None:
    """Let the broker keep so many entries more; then it refuses them, or keeps none as others' transports."""
    schema = client.transports().schema()
    keep, left = schema.note_act, iter(range(keeps))

    async def note_act(act: Act) -> bool:
        if next(left, None) is not None:
            return await keep(act)
        if error is not None:
            raise error
        return False

    setattr(schema, "note_act", note_act)  # noqa: B010


REFUSALS = [TransportError("NOPERM for you"), TransportUnavailable("it is full"), None]


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
async def test_an_act_that_cannot_be_noted_is_not_done(error: Exception | None) -> None:
    async with a_bus() as client:
        let_refuse(client, error)
        done = False
        why = str(error or "the transport of the contracts keeps no audit")
        with pytest.raises(AuditRefused, match=f"dlq.drop of shop-send is not done, since .*: {why}"):
            async with acting(client, ANN, "dlq.drop", "shop-send"):
                done = True
        assert not done


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
async def test_whoever_wants_it_all_the_same_is_told_in_a_sentence(error: Exception | None) -> None:
    async with a_bus() as client:
        let_refuse(client, error)
        told: list[str] = []
        async with acting(client, replace(ANN, tell=told.append), "dlq.drop", "shop-send"):
            assert told == []
        why = str(error or "the transport of the contracts keeps no audit")
        assert told == [f"dlq.drop of shop-send is not in the audit: {why}"]


async def test_an_act_whose_end_cannot_be_noted_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with a_bus() as client:
        for tell in (None, lambda sentence: caplog.records.clear()):
            let_refuse(client, TransportError("NOPERM for you"), keeps=1)
            async with acting(client, replace(ANN, tell=tell), "dlq.drop", "shop-send"):
                pass
            said = "dlq.drop of shop-send is in the audit without its end: NOPERM for you"
            assert [r.getMessage() for r in caplog.records] == ([said] if tell is None else [])


async def test_a_broker_that_is_away_is_told_once_where_the_act_fails_for_that() -> None:
    async with a_bus() as client:
        let_refuse(client, TransportUnavailable("it is away"))
        told: list[str] = []
        with pytest.raises(TransportUnavailable):
            async with acting(client, replace(ANN, tell=told.append), "dlq.drop", "shop-send"):
                raise TransportUnavailable("it is away")
        assert told == []


async def test_a_broker_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PATIENCE", 0.05)
    async with a_bus() as client:
        schema = client.transports().schema()
        monkeypatch.setattr(schema, "note_act", lambda _: asyncio.sleep(60))
        with pytest.raises(AuditRefused, match="does not answer within"):
            async with acting(client, ANN, "dlq.drop", "shop-send"):
                pass


async def done(client: BusClient, *actions: str, user: str = "ann@box") -> None:
    for action in actions:
        async with acting(client, replace(ANN, user=user), action, "x"):
            pass


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        (Wanted(), 4),
        (Wanted(action="dlq"), 2),
        (Wanted(action="dlq.drop"), 1),
        (Wanted(action="*.rm"), 1),
        (Wanted(action="dl"), 0),
        (Wanted(user="bob"), 1),
        (Wanted(user="bob@box"), 1),
        (Wanted(user="*@box"), 4),
        (Wanted(user="bo"), 0),
        (Wanted(user="bob", action="dlq"), 0),
        (Wanted(since=9e9), 0),
    ],
    ids=repr,
)
async def test_acts_are_chosen_by_what_and_who_and_when(wanted: Wanted, number: int) -> None:
    async with a_bus() as client:
        await done(client, "dlq.drop", "dlq.replay", "group.rm")
        await done(client, "listener.pause", user="bob@box")
        assert len(await acts(client, wanted)) == number


async def test_pages_have_each_act_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PAGE", 3)
    async with a_bus() as client:
        names = [f"a{number}" for number in range(10)]
        async with acting(client, ANN, "outer", "x"):
            await done(client, *names)
        found: list[str] = []
        before = ""
        while page := await acts(client, before=before, limit=4):
            found += [act.action for act in page]
            before = page[-1].id
        assert found == ["outer", *reversed(names)]
        with pytest.raises(InvalidParameters, match="'1-1 or so' is no id"):
            await acts(client, before="1-1 or so")


async def test_an_act_is_followed_when_it_ends_or_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_UNENDED", 0.2)
    async with a_bus() as client:
        await done(client, "before")
        last = await audit.newest(client)
        schema = client.transports().schema()
        async with aclosing(follow(client, Wanted(action="a"), after=last, every=0.01)) as following:
            await done(client, "a", "b")
            ended = await anext(following)
            assert (ended.action, ended.outcome) == ("a", "done")
            await schema.note_act(Act(act="killed", action="a", target="y"))
            unended = await anext(following)
            assert (unended.target, unended.outcome) == ("y", "begun")
            # Its end comes all the same.
            await schema.note_act(Act(act="killed", action="a", target="y", outcome="done"))
            assert (await anext(following)).outcome == "done"
