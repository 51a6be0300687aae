"""``make cluster``: six nodes and the shop, until Ctrl-C."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support.eventually import eventually
from tests.support.processes import Process

ROOT = Path(__file__).parents[2]


def is_there(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.timeout(180)
def test_the_shop_is_hosted_on_six_nodes_until_ctrl_c() -> None:
    require("valkey")
    with Process([sys.executable, "-m", "examples.cluster"], cwd=ROOT) as process:
        process.wait_for_line("Ctrl-C ends it all")
        assert (
            "kill -9 " in process.output()
            and "export LIGHTBUS__BUS__REDIS__URL=redis+cluster://" in process.output()
        )
        process.wait_for_line("dear Ann, thank you for 24.00")
        primaries = [int(pid) for pid in re.findall(r"\(pid (\d+)\)", process.output())]
        assert len(primaries) == 3 and all(map(is_there, primaries))
        process.interrupt()
        assert process.wait() == 0, process.output()
        eventually(lambda: not any(map(is_there, primaries)))
