"""How many events wait for each group of a stream, as Redis itself counts them."""

from __future__ import annotations

from tests.support.servers import Server


def waiting(server: Server, stream: str) -> dict[str, int]:
    """By group, the events that were not read yet and those that are being handled.

    What compares the counts of several groups must wait for all of them first: the group that a test
    looks at may be done before the others.
    """
    found = {}
    for row in server.execute("XINFO", "GROUPS", stream):
        facts = dict(zip(row[::2], row[1::2], strict=True))
        found[facts[b"name"].decode()] = facts[b"pending"] + (facts[b"lag"] or 0)
    return found
