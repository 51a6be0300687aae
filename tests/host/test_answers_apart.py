"""A host whose manifest has another Redis for answers than for calls."""

from __future__ import annotations

from tests.conftest import StartServer
from tests.guide.project import Project
from tests.support.servers import Server

MODULE = """
import lightbus

class A(lightbus.Api):
    class Meta:
        name = "a"

    def double(self, number: int) -> int:
        return 2 * number
"""


def test_answers_travel_over_the_redis_of_their_own(
    project: Project, redis_server: Server, start_server: StartServer
) -> None:
    answers = start_server()
    project.write("bus.py", MODULE)
    project.write(
        "lightbus.yaml",
        f"""
        service_name: a
        bus: {{redis: {{url: "{redis_server.url}"}}}}
        apis: {{a: {{result_transport: {{redis: {{url: "{answers.url}"}}}}}}}}
        """,
    )
    host = project.host()
    assert f"Redis: 127.0.0.1:{answers.port}/0 (answers)" in host.output()
    redis_server.execute("CONFIG", "RESETSTAT")
    assert project.call("a.double", number=21) == 42
    assert b"cmdstat_lpush:calls=1," in answers.execute("INFO", "commandstats")
    assert b"cmdstat_lpush" not in redis_server.execute("INFO", "commandstats")
    assert host.terminate() == 0
    assert "could not sign off" not in host.output()
