"""The users of a campaign, and that what Redis refuses to them is found."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.conftest import StartServer

from .settings import manifest
from .users import Users


def test_a_rule_that_hosts_lack_is_taken_from_them_alone() -> None:
    options = {"url": "redis://redis"}
    with contextlib.closing(Users(partial(manifest, replicas=1), options)) as whole:
        full = Path(whole.args[1]).read_text().splitlines()
    with contextlib.closing(Users(partial(manifest, replicas=1), options, "+xack")) as users:
        lacking = Path(users.args[1]).read_text().splitlines()
    changed = [line for line, other in zip(full, lacking, strict=True) if line != other]
    assert [line.split()[1] for line in changed] == ["host"]


def test_what_a_user_may_not_do_is_refused_and_told_but_for_what_is_known(start_server: StartServer) -> None:
    with contextlib.closing(Users(partial(manifest, replicas=1), {"url": "redis://redis"})) as users:
        server = start_server(args=users.args)
        login = partial(redis.Redis, port=server.port, password="secret")
        with login(username="caller") as caller, login(username="operator") as operator:
            assert caller.rpush("work:rpc_queue", "a call") == 1
            users.look([server])
            assert users.refused == set()
            for client, command in ((caller, "LPOP"), (operator, "LPUSH")):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(command, "work:rpc_queue", 1)
            with pytest.raises(redis.exceptions.NoPermissionError):
                caller.config_get("save")
        users.look([server])
    assert users.refused == {"caller: lpop", "operator: lpush"}
