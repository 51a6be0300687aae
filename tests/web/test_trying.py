"""Trying an API in the console: a form made from its contract, read back, and said as code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from lightbus import Api, Event, Parameter, Sensitive
from lightbus.cli.arguments import parse
from lightbus.contracts.validator import compile
from lightbus.exceptions import InvalidParameters
from lightbus.testing import hosted
from lightbus.web import app
from lightbus.web.pages.trying.fields import Field, example_of, fields_of
from lightbus.web.pages.trying.filled import filled_in
from lightbus.web.pages.trying.said import as_command, as_python
from tests.web.conftest import OURS, manifest, visitor
from tests.web.test_pages import read

ADDRESS = {
    "type": "object",
    "title": "Address",
    "properties": {"city": {"type": "string"}, "zip/code": {"type": "integer"}},
    "required": ["city"],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Who."},
        "age": {"type": "integer", "minimum": 18},
        "ratio": {"type": "number"},
        "is_admin": {"type": "boolean"},
        "kind": {"enum": ["a", 1, None]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "counts": {"type": "array", "items": {"type": "integer"}},
        "address": {"$ref": "#/definitions/Address"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null", "default": None}]},
        "more": {"type": "object", "additionalProperties": {"type": "integer"}},
        "items": {"type": "array", "items": {"$ref": "#/definitions/Address"}},
    },
    "required": ["name", "age", "note", "tags"],
    "additionalProperties": False,
    "definitions": {"Address": ADDRESS},
}
WHOLE = {
    "/name": "Ann", "/age": "40", "/ratio": "0.5", "/is_admin": "true", "/kind": "1", "/tags": "x\n\ny\n",
    "/counts": "1\n2", "/address/city": "Rome", "/address/zip~1code": "10", "/note": "",
    "/more": '{"a": 1}', "/items": '[{"city": "Rome"}]',
}  # fmt: skip


def given(values: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a form that was filled in."""
    return filled_in(fields_of(SCHEMA), {name: [text] for name, text in values.items()})


def kinds(fields: tuple[Field, ...]) -> dict[str, str]:
    return {each.name: each.kind for each in fields}


def test_each_argument_has_a_field_of_its_kind() -> None:
    fields = fields_of(SCHEMA)
    assert kinds(fields) == {
        "name": "text", "age": "integer", "ratio": "number", "is_admin": "boolean", "kind": "choice",
        "tags": "lines", "counts": "lines", "address": "group", "note": "text", "more": "json",
        "items": "json",
    }  # fmt: skip
    address = next(each for each in fields if each.name == "address")
    assert [each.path for each in address.fields] == ["/address/city", "/address/zip~1code"]
    assert {each.name for each in fields if each.is_required} == {"name", "age", "note", "tags"}


def test_a_form_that_was_filled_in_is_what_the_contract_wants() -> None:
    whole = given(WHOLE)
    assert whole == {
        "name": "Ann", "age": 40, "ratio": 0.5, "is_admin": True, "kind": 1, "tags": ["x", "y"],
        "counts": [1, 2], "address": {"city": "Rome", "zip/code": 10}, "note": None, "more": {"a": 1},
        "items": [{"city": "Rome"}],
    }  # fmt: skip
    compile(SCHEMA, "it").validate(whole)
    assert given({"/name": "Ann", "/age": "40"}) == {"name": "Ann", "age": 40, "note": None, "tags": []}


def test_all_arguments_may_be_given_as_json() -> None:
    assert given({**WHOLE, "json": '{"name": "Bob"}'}) == {"name": "Bob"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"/name": "Ann"}, "age is required"),
        ({**WHOLE, "/age": "x"}, "age: that is no integer"),
        ({**WHOLE, "/ratio": "nan"}, "ratio: that is no number in JSON"),
        ({**WHOLE, "/address/zip~1code": "x"}, "address.zip/code: that is no integer"),
        ({**WHOLE, "/is_admin": "maybe"}, "is_admin: write true or false"),
        ({**WHOLE, "/more": "{"}, "more: that is no JSON at line 1, column 2"),
        ({"json": "[]"}, "the arguments as JSON are an object"),
        ({"json": "["}, "the JSON of all arguments: that is no JSON"),
        ({"json": "{" * 9}, "the JSON of all arguments: that is no JSON at line 1, column 2"),
        ({"json": "[" * 100_000}, "the JSON of all arguments: that is no JSON: it is too deep"),
        ({"json": '{"a": 1, "a": 2}'}, "the JSON of all arguments: 'a' stands twice in one object"),
        ({**WHOLE, "/more": '{"x": [{"a": 1, "a": 2}]}'}, "more: 'a' stands twice in one object"),
    ],
)
def test_what_can_not_be_is_told_with_its_place(values: Mapping[str, str], told: str) -> None:
    with pytest.raises(InvalidParameters, match=told.replace("[", r"\[")):
        given(values)


def test_an_example_fits_the_contract() -> None:
    example = example_of(SCHEMA, SCHEMA)
    compile(SCHEMA, "it").validate(example)
    assert example["address"] == {"city": "text"} and example["age"] == 18
    without_end = {"properties": {"a": {"$ref": "#"}}, "type": "object"}
    assert json.dumps(example_of(without_end, without_end)) and fields_of(without_end)


@pytest.mark.parametrize(
    "kwargs", [given(WHOLE), {"a b": 1}, {"a=b": "x"}, {}, {"class": "it's"}, {"n": "7"}]
)
def test_the_command_and_the_python_mean_the_same(kwargs: dict[str, Any]) -> None:
    words = shlex.split(as_command("call", "auth.check", kwargs))
    assert words[:3] == ["lightbus", "call", "auth.check"]
    whole = words[4] if words[3:4] == ["--json"] else None
    assert parse(words[3:] if whole is None else (), whole) == kwargs

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self, **kwargs: Any) -> Any:
            return kwargs

    for verb in ("call", "fire"):
        assert eval(as_python(verb, "auth.check", kwargs), {"bus": Spy()}) == kwargs


class TryApi(Api):
    """Something to try."""

    told = Event(parameters=["name", Parameter("secret", Annotated[str, Sensitive], "")])

    class Meta:
        name = "tries"

    def greet(self, name: str, secret: Annotated[str, Sensitive] = "") -> dict[str, str]:
        """Greet somebody."""
        if name == "nobody":
            raise ValueError(f"there is {name} with {secret}")
        return {"greeting": f"Hello {name}"}


@asynccontextmanager
async def trying(*allowed: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who tries a service that runs in this process."""
    console = app(manifest(f"web.allow={','.join(allowed)}"))
    looks = console._looks
    async with hosted(TryApi, config={"service_name": "tries"}) as host, visitor(console) as browser:
        await looks.client.close_async()
        looks.client = host.bus.client
        yield browser
        await looks._reading.stop()


async def test_a_procedure_is_called_and_an_event_fired() -> None:
    async with trying("call", "fire") as browser:
        form = read((await browser.get("/try/tries.greet")).text).words
        assert "lightbus call tries.greet name=text secret=" in form
        sent = {"target": "tries.greet", "/name": "Ann", "/secret": "canary"}
        called = await browser.post("/actions/call", data=sent, headers=OURS)
        words = read(called.text).words
        assert called.status_code == 200 and "Hello Ann" in words and "canary" not in called.text
        assert "bus.tries.greet(name='Ann', secret='•••')" in words and 'value="Ann"' in called.text
        failed = await browser.post("/actions/call", data={**sent, "/name": "nobody"}, headers=OURS)
        assert failed.status_code == 502 and "did not end well" in failed.text and "canary" not in failed.text
        unfit = await browser.post("/actions/call", data={**sent, "json": '{"name": 1}'}, headers=OURS)
        assert unfit.status_code == 422 and "canary" not in unfit.text
        wanted = {"target": "tries.told", "/name": "Ann", "/secret": "canary"}
        planned = await browser.post("/actions/fire", data=wanted, headers=OURS)
        assert planned.status_code == 200 and "canary" not in planned.text
        assert '"name": "Ann", "secret": "•••"' in read(planned.text).words
        assert "No event that" in read((await browser.get("/events?api=tries")).text).words
        sure = {
            "target": "tries.told",
            "draft": draft_of(planned.text),
            "confirmed": "yes",
            "because": "a test",
        }
        fired = await browser.post("/actions/fire", data=sure, headers=OURS)
        assert fired.status_code == 200 and "It was fired." in fired.text and "canary" not in fired.text
        again = await browser.post("/actions/fire", data=sure, headers=OURS)
        assert again.status_code == 422 and "was confirmed before" in again.text, "it is fired once"
        assert "tries.told" in read((await browser.get("/events")).text).words
        audit = read((await browser.get("/audit")).text).words
        assert "call tries.greet" in audit and "fire tries.told" in audit and "canary" not in audit


def draft_of(text: str) -> str:
    """The key of the form that a page wants to be confirmed."""
    (key,) = re.findall(r'name="draft" value="([^"]+)"', text)
    return str(key)


async def test_an_event_is_fired_again_with_what_is_hidden_in_it() -> None:
    async with trying("fire", "reveal") as browser:
        given = {"target": "tries.told", "/name": "Ann", "/secret": "canary", "confirmed": "yes"}
        assert (await browser.post("/actions/fire", data=given, headers=OURS)).status_code == 200
        (page,) = {link for link in read((await browser.get("/events")).text).links if "/events/" in link}
        event = read((await browser.get(page)).text)
        (path,) = [link for link in event.links if link.startswith("/try/")]
        form = await browser.get(path)
        assert "canary" not in form.text and "•••" in form.text
        like = dict(parse_qsl(urlsplit(path).query))
        sent = {
            "target": "tries.told",
            **like,
            "json": '{"name": "Bob", "secret": "•••"}',
            "confirmed": "yes",
        }
        done = await browser.post("/actions/fire", data=sent, headers=OURS)
        assert done.status_code == 200 and "canary" not in done.text, done.text
        moved = {**sent, "json": '{"name": "•••"}'}
        refused = await browser.post("/actions/fire", data=moved, headers=OURS)
        assert refused.status_code == 422 and "canary" not in refused.text, "it can't be moved into the light"
        gone = await browser.post("/actions/fire", data={**sent, "like": "none", "at": "1-1"}, headers=OURS)
        assert gone.status_code == 409 and "have no event none" in gone.text
        newest = next(
            link
            for link in read((await browser.get("/events?where=name%3DBob")).text).links
            if "/events/" in link
        )
        (reveal,) = [link for link in read((await browser.get(newest)).text).links if "reveal_event" in link]
        which = dict(parse_qsl(urlsplit(reveal).query))
        assert (await browser.post("/actions/reveal_event", data=which, headers=OURS)).status_code == 422
        shown = await browser.post("/actions/reveal_event", data={**which, "because": "x"}, headers=OURS)
        assert shown.status_code == 200 and "canary" in shown.text
        assert "event.reveal" in read((await browser.get("/audit")).text).words


async def test_who_may_not_is_told_what_it_takes() -> None:
    async with trying() as browser:
        page = await browser.get("/try/tries.told")
        assert "you need the permission fire" in read(page.text).words and "<form" not in page.text
        assert (await browser.get("/try/tries.none")).status_code == 404


@pytest.mark.parametrize(
    ("form", "told"),
    [("json", '"greet"'), ("asyncapi", '"asyncapi":"3.0.0"'), ("python", "class ")],
)
async def test_a_contract_is_had_as_a_file(form: str, told: str) -> None:
    async with trying() as browser:
        answer = await browser.get(f"/contracts/tries?as={form}")
        assert told in answer.text and "attachment" in answer.headers["content-disposition"]
        assert (await browser.get("/contracts/tries?as=pdf")).status_code == 422
        assert (await browser.get("/contracts/none")).status_code == 404
