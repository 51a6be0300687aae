"""What a shell completes is asked of whichever node of a cluster has it."""

from __future__ import annotations

from lightbus.options import SecretUrl
from lightbus.transports.redis.link.glance import Glance
from lightbus.transports.redis.options import RedisOptions
from tests.support.cluster import RedisCluster

APIS = ["auth", "bill", "mail", "shop", "stock", "store"]


def test_names_and_contracts_are_found_at_all_nodes(redis_cluster: RedisCluster) -> None:
    owners = set()
    for api in APIS:
        stream, schema = f"{api}.*:stream", f"schema:{api}"
        redis_cluster.execute("schemas", "SADD", "schemas", api)
        redis_cluster.execute(schema, "SET", schema, f'{{"events": {{}}, "rpcs": {{"{api}": {{}}}}}}')
        redis_cluster.execute(stream, "XGROUP", "CREATE", stream, f"{api}-group", 0, "MKSTREAM")
        owners.add(redis_cluster.owner(schema))
    assert len(owners) == 3
    with Glance(RedisOptions(url=SecretUrl(redis_cluster.url)), 60) as glance:
        assert glance.api_names() == APIS
        contracts = glance.contracts([*APIS, "absent"])
        assert {api: list(contract["rpcs"]) for api, contract in contracts.items()} == {a: [a] for a in APIS}
        assert glance.group_names() == [f"{api}-group" for api in APIS]
