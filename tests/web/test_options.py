"""Each option of the key ``web``: another value, another behaviour; and what can't stand together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightbus.exceptions import ManifestError
from lightbus.manifest.load import load
from tests.web.conftest import browsing, manifest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("listen: 0.0.0.0:8098", "1:7  web.listen: 0.0.0.0:8098 is reached from other machines"),
        ("listen: '[::]:8098'", "1:7  web.listen: [::]:8098 is reached from other machines"),
        ("listen: bus.example.com:80", "1:7  web.listen: bus.example.com:80 is reached from other machines"),
        ("auth: token", "1:7  web.auth: token needs token_file"),
        ("auth: proxy", "1:7  web.auth: proxy needs trusted_proxies"),
        ("token_file: tokens", "1:7  web.token_file: means nothing with auth: none"),
        ("trusted_proxies: [10.0.0.0/8]", "1:7  web.trusted_proxies: means nothing with auth: none"),
        (
            "auth: proxy, trusted_proxies: [anything]",
            "web.trusted_proxies[0]: must be an address or a network",
        ),
        ("root_path: bus", "web.root_path: must be a path such as /bus"),
        ("root_path: /bus/", "web.root_path: must be a path such as /bus"),
        ("root_path: /bus/../x<y", "web.root_path: must be a path such as /bus"),
        ("user_header: 'X: Y'", "web.user_header: must be the name of a header"),
        ("hosts: ['http://bus.example.com/']", "web.hosts[0]: must be the name of a host"),
        ("refresh: 10ms", "web.refresh"),
        ("mask: [shop.placed]", "web.mask[0]: must be the name of a field such as email, or a path"),
        ("mask: ['a b']", "web.mask[0]: must be the name of a field"),
        ("allow: [pauze]", "web.allow[0]: must be one of call, fire"),
        ("allow: pause", "web.allow: must be a list; put it in brackets"),
        ("roles: {ops: [pauze]}", "web.roles.ops[0]: must be one of call, fire"),
        ("roles: {ops: pause}", "web.roles.ops: must be a list; put it in brackets"),
        ("roles: {ops: {pause: true}}", "web.roles.ops: must be a list, not a map"),
        ("roles: [ops]", "web.roles: must be a map of names, not a list"),
        ("roles: {'o p s': [pause]}", "web.roles.o p s: can't be a name"),
        ("role_header: 'X: Y'", "web.role_header: must be the name of a header"),
        ("role_header: X-Role", "web.role_header: means nothing with auth: none; give auth: proxy"),
        ("auth: nobody", "web.auth: must be one of none, token, proxy"),
    ],
)
def test_what_can_not_be_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "lightbus.yaml"
    file.write_text(f"web: {{{text}}}\n")
    with pytest.raises(ManifestError) as caught:
        load([str(file)], environ={})
    assert told in str(caught.value)
    assert f"{file}:1:" in str(caught.value) or "lightbus.yaml:1:" in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        ["web.listen=8099"],
        ["web.listen=localhost:8099"],
        ["web.listen=127.8.9.1:8099"],
        ["web.listen=[::1]:8099"],
        ["web.listen=0.0.0.0:8099", "web.auth=token", "web.token_file=tokens"],
        ["web.listen=0.0.0.0:8099", "web.auth=proxy", "web.trusted_proxies=10.0.0.0/8,::1"],
    ],
)
def test_what_can_be(settings: list[str]) -> None:
    assert manifest(*settings).web.listen.endswith(":8099")


def test_flags_set_what_the_manifest_would() -> None:
    flags: dict[str, Any] = {
        "web_listen": "0.0.0.0:9000",
        "web_hosts": ("a.example", "b.example"),
        "web_auth": "proxy",
        "web_user_header": "X-User",
        "web_trusted_proxies": ("10.0.0.0/8", "::1"),
        "web_root_path": "/bus",
    }
    web = load(flags=flags, environ={}, look_around=False).web
    assert (web.listen, web.hosts, web.auth) == ("0.0.0.0:9000", ("a.example", "b.example"), "proxy")
    assert (web.user_header, web.trusted_proxies) == ("X-User", ("10.0.0.0/8", "::1"))
    assert web.root_path == "/bus"


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("web_auth", "token", "--auth  web.auth: token needs token_file"),
        ("web_trusted_proxies", ("::1",), "--trusted-proxy  web.trusted_proxies: means nothing"),
        ("web_user_header", "a b", "--user-header  web.user_header"),
        ("web_root_path", "bus", "--root-path  web.root_path"),
        ("web_token_file", "tokens", "--token-file  web.token_file: means nothing"),
    ],
)
def test_a_flag_that_can_not_be_is_told(flag: str, value: str | tuple[str, ...], told: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(flags={flag: value}, environ={}, look_around=False)
    assert told in str(caught.value)


@pytest.mark.parametrize("refresh", ["2s", "30s"])
async def test_a_page_is_renewed_so_often(refresh: str) -> None:
    async with browsing(f"web.refresh={refresh}") as browser:
        assert f'hx-trigger="every {refresh}, seen"' in (await browser.get("/")).text
