"""The page on troubleshooting quotes what Lightbus says, and has every error of firing and calling."""

from __future__ import annotations

import re

import pytest

from lightbus import exceptions

from .pages import DOCS
from .sayings import Sayings

PAGE = (DOCS / "how-to" / "troubleshooting.md").read_text()
QUOTES = [
    " ".join(text.split()) for text in re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
]

#: The names and numbers of the example, and the words of Redis itself.
VALUES = (
    r"(auth|shop|orders|accounts)(\.\w+)?",
    r"bus\.auth\.[\w.]+",
    r"mailer|shop-(old|mailer)|accounts|send|http|bus|/srv/shop|lines\[0\]\.quantity",
    r"user_registred|user_registered|check_password|check_|password|Auth|AuthApi|ada|KeyError",
    r"redis:6379/0",
    r"lightbus group rm|lightbus|group|rm|XADD|\{auth\.\*:stream\}:dead:shop-mailer",
    r"[\d,.:+T-]+|[0-9a-f]{8}-[0-9a-f-]{27}",
    r"OOM|command|not|allowed|when|used|memory|>|maxmemory",
    r"<|<function|at|0x7f2[ab]>|the|call|integer|got|seconds|days|s|\.\.\.|",
)


@pytest.fixture(scope="module")
def sayings() -> Sayings:
    return Sayings(VALUES)


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote[:60])
def test_what_the_page_quotes_is_what_lightbus_says(quote: str, sayings: Sayings) -> None:
    name, is_error, text = quote.partition(": ")
    if name.startswith("lightbus.exceptions."):
        assert is_error and hasattr(exceptions, name.removeprefix("lightbus.exceptions."))
        quote = text
    assert sayings.unsaid(quote) == []


def test_a_quote_that_lightbus_does_not_say_is_noticed(sayings: Sayings) -> None:
    left = sayings.unsaid("nobody serves the API 'auth', so auth.check_password was eaten")
    assert {"so", "eaten"} <= set(left)


def test_every_error_of_firing_and_calling_is_on_the_page() -> None:
    kinds = [*exceptions.TransportError.__subclasses__(), *exceptions.RpcError.__subclasses__()]
    public = [kind for kind in kinds if kind.__module__ == exceptions.__name__]
    # Raised for whoever looks after the bus alone, with all that there is to say.
    public = [kind for kind in public if kind not in (exceptions.GroupRefused, exceptions.AuditRefused)]
    assert [kind.__name__ for kind in public if f"`{kind.__name__}`" not in PAGE] == []
