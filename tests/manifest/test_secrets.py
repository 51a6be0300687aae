"""Nothing that is secret is ever shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightbus.manifest.printing.effective import show
from lightbus.manifest.problems import InvalidManifest, render

from .conftest import Folder

CANARY = "s3cr3t-canary"

REDIS = f"""
    url: "redis://user:{CANARY}@host:6379/0?password={CANARY}"
    password: {CANARY}
    sentinel: {{service: main, nodes: ["a:1"], password: {CANARY}}}
"""


def test_a_secret_is_in_no_text_of_a_good_manifest(folder: Folder) -> None:
    folder.write("secret", CANARY)
    folder.environ.update(
        SECRET=CANARY,
        LIGHTBUS__BUS__SCHEMA__TRANSPORT__REDIS__PASSWORD=CANARY,
        LIGHTBUS__APIS__ENV__REDIS__URL=f"redis://:{CANARY}@host/0",
    )
    manifest = folder.read(
        f"""
bus:
  redis: {REDIS.replace("    ", "      ")}
apis:
  default: {{event_transport: {{redis: {{password: "${{SECRET}}", consumer_name: "${{file:secret}}"}}}}}}
  auth: {{owner: "${{file:secret}}", redis: {{password: "${{file:secret}}", username: "${{file:secret}}"}}}}
x-mine: {CANARY}
        """,
        sets=[f"apis.auth.rpc_transport.redis.url=redis://{CANARY}@h:1/0"],
    )
    assert manifest.apis["auth"].redis.password is not None
    assert manifest.apis["auth"].redis.password.reveal() == CANARY
    assert manifest.bus.redis.url is not None and CANARY in manifest.bus.redis.url.reveal()
    texts = [
        show(manifest),
        show(manifest, origin=True),
        repr(manifest),
        repr(manifest.bus),
        str(manifest.apis["env"]),
    ]
    texts += [render(manifest.notes), repr(manifest.default_api)]
    for text in texts:
        assert CANARY not in text


WRONG = [
    "bus: {redis: {url: '@'}}",
    "bus: {redis: {url: 'http://user:@@host'}}",
    "bus: {redis: {url: 'redis://[@'}}",
    "bus: {redis: {url: 'redis://a/@'}}",
    "bus: {redis: {url: [@]}}",
    "bus: {redis: {url: {a: @}}}",
    "bus: {redis: {password: [@]}}",
    "bus: {redis: {password: {a: @}}}",
    "bus: {redis: {password: !@ x}}",
    "bus: {redis: {password: !x @}}",
    "bus: {redis: {password: *@}}",
    "bus: {redis: {password: '${@'}}",
    "bus: {redis: {password: '${x y @}'}}",
    "bus: {redis: {password: @, passwrd: @}}",
    "bus: {redis: {password: @\n, x}, 'a': b: c}",
    "bus: {redis: 'redis://user:@@host:1/0'}",
    "bus: {redis: @}",
    "bus: {redis: {tls: @}}",
    "bus: {redis: {sentinel: @}}",
    "bus: {redis: {sentinel: {service: a, nodes: ['redis://:@@host']}}}",
    "bus: {redis: {connection_parameters: {password: @}}}",
    "bus: {redis: {password: '@}}",
    'bus: {redis: {password: "@\\q"}}',
    "bus: {redis: {password: %@}}",
    "bus: {redis: {password: @, password: @}}",
    "apis: {default: {redis: 'redis://user:@@host'}}",
    "apis: {default: {event_transport: 'redis://user:@@host'}}",
    "apis: {default: {event_transport: {redis: 'redis://user:@@host'}}}",
    "apis: {auth: {rpc_timeout: '${file:secret}'}}",
    "service_name: '${file:secret} x'",
    "service_name: '{${file:secret}}'",
    "http: {listen: 'user:@@host'}",
    "bus: {redis: {url: 'redis://:a@@#b@host:6379/0'}}",
    "bus: {redis: {url: 'redis://:a@b#@@host:6379/0'}}",
    "bus: {redis: {url: 'redis://:1/@@host:6379/0'}}",
    "bus: {redis: {url: 'redis://user:@'}}",
    "bus: {redis: {url: 'redis://user:12/@'}}",
    "bus: {schema: {transport: {redis: {url: 'redis://:a@b#@@host:6379/0'}}}}",
    "apis: {auth: {result_transport: {redis: {url: 'redis://:a@b#@@host:6379/0'}}}}",
    "include: ['http://u:a@b#@@host/x.yaml']",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_secret_is_in_no_error(folder: Folder, text: str) -> None:
    folder.write("secret", CANARY)
    folder.write("lightbus.yaml", text.replace("@@", "\0").replace("@", CANARY).replace("\0", f"{CANARY}@"))
    with pytest.raises(InvalidManifest) as caught:
        folder.load()
    for told in (
        str(caught.value),
        repr(caught.value),
        *(render(caught.value.located, f) for f in ("json", "github")),
    ):
        assert CANARY not in told
    assert json.loads(render(caught.value.located, "json"))


@pytest.mark.parametrize(
    "setting",
    [
        *("bus.redis.url=redis://:a@b#@@h", "bus.schema.transport.redis.url=redis://:a@b#@@h"),
        *("bus.redis.password=@", "bus.redis.url=@"),
        "bus.redis.passwrd=@",
        "bus.redis=redis://:@@h",
        "x=@",
    ],
)
def test_a_secret_is_in_no_error_about_a_setting(folder: Folder, setting: str) -> None:
    folder.write("lightbus.yaml", "nonsense: 1")
    folder.environ["LIGHTBUS__BUS__REDIS__PASWORD"] = CANARY
    with pytest.raises(InvalidManifest) as caught:
        folder.load(sets=[setting.replace("@@", "\0").replace("@", CANARY).replace("\0", f"{CANARY}@")])
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("place", ["environment", "variable", "file", "code"])
def test_a_password_that_would_end_its_url_is_refused_wherever_it_stands(folder: Folder, place: str) -> None:
    url = f"redis://:hunter@{CANARY}#9@127.0.0.1:6379/0"
    given: dict[str, Any] = {}
    if place == "environment":
        folder.environ["LIGHTBUS__BUS__REDIS__URL"] = url
    elif place == "variable":
        folder.environ["PW"] = f"hunter@{CANARY}#9"
        folder.write("lightbus.yaml", "bus: {redis: {url: 'redis://:${PW}@127.0.0.1:6379/0'}}")
    elif place == "file":
        folder.write("url", url)
        folder.write("lightbus.yaml", "bus: {redis: {url: '${file:url}'}}")
    else:
        given["create_arguments"] = {"bus": {"redis": {"url": url}}}
    with pytest.raises(InvalidManifest, match="write %23 for #") as caught:
        folder.load(**given)
    assert "bus.redis.url: must be a URL such as" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_secret_from_a_file_is_what_the_file_holds_by_now(folder: Folder) -> None:
    text = "bus: {redis: {password: 'a${file:secret}', url: 'redis://:${file:secret}@h:1/0'}}"
    folder.write("secret", "one\n")
    redis = folder.read(text).bus.redis
    assert redis.password is not None and redis.url is not None
    folder.write("secret", "two\n")
    assert (redis.password.current(), redis.url.current()) == ("atwo", "redis://:two@h:1/0")
    # The same file is the same secret: nothing has changed that a reload would have to refuse.
    assert folder.read(text).bus.redis == redis
    (folder.path / "secret").unlink()
    assert redis.password.current() == "aone"
