"""Which URLs of Redis are taken, and that no part of a password becomes something else, or is told."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from lightbus.exceptions import ConfigurationError
from lightbus.options import SecretUrl
from lightbus.transports.redis.link.connection import Connector
from lightbus.transports.redis.options import RedisOptions
from lightbus.transports.redis.url import place_of, url_at, url_problem

PASSWORDS = st.text(min_size=1) | st.text(alphabet="@#/?[]:%&= \tab\u2100", min_size=1)


@given(PASSWORDS, st.sampled_from(["redis", "rediss"]), st.sampled_from(["", "u"]))
@example("hunter@TopSecretTail#9", "redis", "")
@example("a/b", "redis", "")
@example("1/b", "redis", "u")
@example("a?password=b", "redis", "")
@example("a[b", "redis", "")
@example("a\nb", "redis", "")
@example("a\u2100b", "redis", "")
def test_a_password_as_it_is_becomes_the_password_or_is_refused(
    password: str, scheme: str, user: str
) -> None:
    url = f"{scheme}://{user}:{password}@cache:6379/3"
    if url_problem(url) is None:
        settings = parse_url(url)
        assert settings["password"] == unquote(password)
        assert (settings["host"], settings["port"], settings["db"]) == ("cache", 6379, 3)


@given(PASSWORDS)
def test_a_password_that_is_escaped_is_taken(password: str) -> None:
    try:
        escaped = quote(password, safe="")
    except UnicodeEncodeError:  # half a surrogate pair
        return
    for url in (f"redis://:{escaped}@cache:6379/3", f"unix://:{escaped}@/run/redis.sock"):
        assert url_problem(url) is None
        assert parse_url(url)["password"] == password


@given(st.text(min_size=1))
@example("redis://:\u2100canary@cache")
@example("redis://user:canary")
@example("redis://:12/canary")
@example("redis://cache?canary")
@example("canary://x")
def test_whatever_a_url_is_it_is_refused_or_leads_to_one_place(url: str) -> None:
    problem = url_problem(url)
    if problem is None:
        settings = parse_url(url)
        assert settings.get("host") or settings.get("path")
        at = settings.get("path") or f"{settings.get('host')}:{settings.get('port', 6379)}"
        assert place_of(url) == f"{at}/{settings.get('db') or 0}"
    if "canary" in url and not url.startswith("canary"):
        assert problem is not None and "canary" not in problem


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "localhost:6379",
            "does not begin with redis://, rediss:// or unix://: write redis://localhost:6379",
        ),
        ("valkey://localhost", "but with valkey://"),
        ("REDIS://localhost", "but with REDIS://"),
        ("redis://:pw@", "names no host"),
        ("redis://", "names no host"),
        ("redis://cache:http/0", "the port after 'cache' is no number from 1 to 65535"),
        ("redis://cache:65536", "the port after 'cache' is no number from 1 to 65535"),
        ("redis://cache/first", "no number of a database"),
        ("redis://cache/1/2", "no number of a database"),
        ("redis://cache/\u00b2", "no number of a database"),
        ("redis://cache?db=first", "the db after the ? is no number"),
        ("redis://cache?timeout=5", "no options after a ? but db"),
        ("redis://cache:6379/0#main", "write %23 for #"),
        ("redis://:a@b#c@cache", "write %23 for #"),
        ("redis://:a/b@cache", "%2F for /"),
        ("redis://:a b@cache", "write %20 for a space"),
        ("redis://:a\x00b@cache", "can't be seen"),
        ("redis://[::1", "names no host"),
        ("redis://a]b", "its host can't be read"),
        ("unix://run/redis.sock", "a third slash"),
        ("unix://:a/b@/run/redis.sock", "a third slash"),
    ],
)
def test_a_url_that_can_not_be_used_is_told_with_what_is_wrong(url: str, told: str) -> None:
    assert told in (url_problem(url) or "")
    # So it is where no manifest has read it.
    with pytest.raises(ConfigurationError, match="the URL of Redis must be a URL such as") as caught:
        Connector(RedisOptions(url=SecretUrl(url)))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache",
        "redis://cache:/",
        "redis://:p@ss@cache:6379/0",
        "redis://user:100%@[::1]:6379/0",
        "redis://[fe80::1%eth0]:6379/0",
        "redis://cache/0?username=u&password=p&db=2",
        "rediss://cache/0?ssl_cert_reqs=none",
        "unix:///run/redis@2.sock?db=1",
    ],
)
def test_a_url_that_redis_py_reads_as_it_was_meant_is_taken(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://user:secret@Cache", "cache:6379/0"),
        ("rediss://cache:7/03?password=secret", "cache:7/3"),
        ("redis://[::1]:7/3?db=2", "::1:7/2"),
        ("unix://:secret@/run/redis.sock", "/run/redis.sock/0"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock/1"),
        ("redis://:secret", "a URL that can't be used"),
    ],
)
def test_the_place_of_a_url_is_the_one_that_redis_py_connects_to_and_no_secret(url: str, place: str) -> None:
    assert place_of(url) == place == RedisOptions(url=SecretUrl(url)).address
    if url_problem(url) is None:
        settings = parse_url(url)
        at = settings.get("path") or f"{settings['host']}:{settings.get('port', 6379)}"
        assert f"{at}/{settings.get('db') or 0}" == place


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("cache:7/3", "redis://cache:7/3"),
        ("::1:7/2", "redis://[::1]:7/2"),
        ("/run/redis.sock/1", "unix:///run/redis.sock?db=1"),
        ("cluster (c1:6379, [::1]:7)", "redis+cluster://c1:6379,[::1]:7"),
        ("sentinel main (s1:26379, s2:26379)/0", ""),
        ("a URL that can't be used", ""),
    ],
)
def test_a_place_is_told_as_a_url_where_there_is_one(place: str, url: str) -> None:
    assert url_at(place) == url
    assert not url or place_of(url) == place
