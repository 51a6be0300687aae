"""The layers of an API's options: the defaults, the bus's Redis, its own Redis, its transports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from lightbus.declared.settings import ChosenTransport
from lightbus.exceptions import TransportNotFound
from lightbus.manifest.keys.forms import OneOf, keys_of
from lightbus.manifest.model import ApiRecord, BusOptions, ContractOptions
from lightbus.manifest.problems import Place
from lightbus.manifest.text.merge import merge
from lightbus.manifest.text.nodes import Node
from lightbus.options import SecretUrl
from lightbus.transports.redis.options import (
    DEFAULT_URL,
    BusRedisOptions,
    RedisOptions,
    RedisResultOptions,
    RedisRpcOptions,
    is_unix,
)
from lightbus.transports.redis.url import is_of_cluster

from .records import Blocks

_TRANSPORTS = ("result_transport", "rpc_transport", "event_transport")
#: The place of a transport that is to be used for everything, whatever is named.
_FLAG = Node({}, Place("--transport"))
_CONNECTION = tuple(f.name for f in fields(RedisOptions))
#: The keys that say where Redis is.
_PLACES = ("url", "sentinel", "cluster")


@dataclass(frozen=True, slots=True)
class _Layers:
    """The nodes of one API, everything beneath it merged.

    Args:
        node: The API's own keys.
        redis: How its Redis is reached.
        transports: For each kind, the name of the transport and the node of its options.
    """

    node: Node | None
    redis: Node | None
    transports: Mapping[str, tuple[str, Node | None]]


class Apis:
    """Makes the records of the APIs and of the bus.

    Args:
        blocks: Makes the single records.
        bus: The node of ``bus``.
        forced: The transport to use whatever is named.
    """

    def __init__(self, blocks: Blocks, bus: Node | None, forced: str | None) -> None:
        self._blocks = blocks
        self._bus = bus
        self._fallback = forced or "redis"
        self._forced = forced
        self._made: dict[tuple[str, str, int], tuple[ChosenTransport, Node | None]] = {}
        own = _child(bus, "redis")
        self._beneath = _without(own, "embedded")
        self._effective: dict[str, Node] = {}
        self._contracts: Node | None = None
        #: Whether some connection said where its Redis is.
        self.redis_configured = _says_where(own)

    def bus(self) -> BusOptions:
        """Make the options of the bus."""
        # Before all that it lies beneath, so that what is wrong in it is told by its own path.
        redis = self._blocks.make(BusRedisOptions, _child(self._bus, "redis"), "bus.redis")
        contracts = _child(self._bus, "schema")
        path = "bus.schema.transport"
        choice = _child(contracts, "transport")
        form = _choice(ContractOptions, "transport")
        name, options = self._blocks.chosen(choice, path, self._fallback)
        if _takes_redis(form, name):
            options = layer(self._beneath, options)
        made = self._transport(form, name, options, choice, path)
        self.redis_configured |= _says_where(options)
        self._contracts = options and replace(options, value={name: options})
        schema = self._blocks.make(ContractOptions, contracts, "bus.schema", given={"transport": made})
        options_of_bus: BusOptions = self._blocks.make(
            BusOptions, self._bus, "bus", given={"redis": redis, "schema": schema}
        )
        return options_of_bus

    def records(self, node: Node | None) -> tuple[ApiRecord, Mapping[str, ApiRecord]]:
        """Make the record that lies beneath all APIs, and those of the APIs that are listed."""
        default_node, start = _child(node, "default"), {}
        for kind in _TRANSPORTS:
            takes_redis = _takes_redis(_choice(ApiRecord, kind), self._fallback)
            start[kind] = self._fallback, self._beneath if takes_redis else None
        beneath = _Layers(None, self._beneath, start)
        default = self._layers(beneath, default_node, "apis.default")
        record = self._record(default, default_node, "default")

        def make(own: Node, path: str) -> ApiRecord:
            return self._record(self._layers(default, own, path), own, path.removeprefix("apis."))

        listed = self._blocks.named(node, "apis", make)
        return record, MappingProxyType({name: made for name, made in listed.items() if name != "default"})

    def effective(self, root: Node) -> Node:
        """Return the root with what lies beneath APIs and transports laid into them."""
        nowhere = root.place
        apis = root.get("apis") or Node({}, nowhere)
        children: dict[str, Node] = dict(apis.value) if isinstance(apis.value, dict) else {}
        changed = {"apis": replace(apis, value={**children, **self._effective})}
        if self._contracts:
            inner = Node({"schema": Node({"transport": self._contracts}, nowhere)}, nowhere)
            changed["bus"] = merge(self._bus, inner) or inner
        return merge(root, Node(changed, nowhere)) or root

    def _layers(self, beneath: _Layers, own: Node | None, path: str) -> _Layers:
        redis = _child(own, "redis")
        # A null here gives way to the bus's Redis, not to that of apis.default.
        under = self._beneath if redis and redis.value is None else beneath.redis
        transports = {}
        for kind in _TRANSPORTS:
            form = _choice(ApiRecord, kind)
            name, lower = beneath.transports[kind]
            choice = _child(own, kind)
            chosen, options = self._blocks.chosen(choice, f"{path}.{kind}", name)
            takes_redis = _takes_redis(form, chosen)
            if chosen != name or (choice and choice.value is None):
                lower = under if takes_redis else None
            options = layer(layer(lower, redis), options) if takes_redis else merge(lower, options)
            transports[kind] = chosen, options
        ttl = _child(transports["result_transport"][1], "result_ttl")
        name, options = transports["rpc_transport"]
        if ttl and name == "redis" and not _child(options, "result_ttl"):
            transports["rpc_transport"] = name, merge(Node({"result_ttl": ttl}, ttl.place), options)
        return _Layers(merge(beneath.node, own), layer(under, redis), transports)

    def _record(self, layers: _Layers, own: Node | None, name: str) -> ApiRecord:
        path = f"apis.{name}"
        given: dict[str, Any] = {"name": name}
        redis = layers.redis
        self.redis_configured |= _says_where(redis)
        given["redis"] = self._blocks.make(RedisOptions, redis, f"{path}.redis")
        for kind in _TRANSPORTS:
            chosen, options = layers.transports[kind]
            self.redis_configured |= _says_where(options)
            form, choice = _choice(ApiRecord, kind), _child(own, kind)
            given[kind] = self._transport(form, chosen, options, choice, f"{path}.{kind}")
        kind = "result_transport"
        chosen, options = layers.transports[kind]
        beside = _beside_calls(layers)
        if beside is not options:
            form, choice = _choice(ApiRecord, kind), _child(own, kind)
            given[kind] = self._transport(form, chosen, beside, choice, f"{path}.{kind}")
            layers = replace(layers, transports={**layers.transports, kind: (chosen, beside)})
        self._effective[name] = _as_node(layers)
        given["rpc_transport"] = _with_results(given["rpc_transport"], given["result_transport"])
        record: ApiRecord = self._blocks.make(ApiRecord, layers.node, path, given=given)
        return record

    def _transport(
        self, form: OneOf, name: str, options: Node | None, choice: Node | None, path: str
    ) -> ChosenTransport:
        # Two hundred APIs with the same transport share one record; the node is kept, so that its id stays.
        if name == self._forced:
            choice = choice or _FLAG
        memo = (form.kind, name, id(options))
        if memo not in self._made:
            self._made[memo] = self._blocks.transport(form, name, options, choice, path), options
        if self._forced and self._forced != name:
            return self._blocks.transport(form, self._forced, None, _FLAG, path)
        return self._made[memo][0]


def _beside_calls(layers: _Layers) -> Node | None:
    """Return the options of result_transport: what they don't say of the connection is as for calls."""
    (name, results), (of_calls, calls) = (layers.transports[k] for k in ("result_transport", "rpc_transport"))
    if name != "redis" or of_calls != "redis":
        return results
    theirs = {key: node for key in _CONNECTION if (node := _child(calls, key))}
    own = {key: node for key in _CONNECTION if (node := _child(results, key))}
    # Said by result_transport itself: not what lies beneath, and not the same as for calls once more.
    said = {
        key
        for key, node in own.items()
        if node.value is not None
        and node != _child(layers.redis, key)
        and not (key in theirs and node.value == theirs[key].value)
    }
    taken = {key: node for key, node in theirs.items() if key not in said}
    if said & set(_PLACES) or taken == {key: node for key, node in own.items() if key not in said}:
        return results
    place = (results or calls or Node({}, Place("the manifest"))).place
    return merge(Node(taken, place), _without(results, *(own.keys() - said)))


def _with_results(calls: ChosenTransport, results: ChosenTransport) -> ChosenTransport:
    """Let the transport of calls write answers as the options of result_transport say."""
    own, theirs = calls.options, results.options
    if not isinstance(own, RedisRpcOptions) or not isinstance(theirs, RedisResultOptions):
        return calls
    own = replace(own, result_serializer=theirs.serializer, result_deserializer=theirs.deserializer)
    if _reach(own) != _reach(theirs):
        own = replace(own, results=theirs)
    return replace(calls, options=own)


def _reach(options: RedisOptions) -> list[object]:
    """Return what makes two connections two."""
    url = options.url or SecretUrl(DEFAULT_URL)
    keys = (key for key in _CONNECTION if key not in ("url", "connection_parameters"))
    return [url, *(getattr(options, key) for key in keys)]


def _takes_redis(form: OneOf, name: str) -> bool:
    try:
        cls = form.options(name)
    except TransportNotFound:
        return False
    return cls is not None and issubclass(cls, RedisOptions)


def _child(node: Node | None, key: str) -> Node | None:
    return node.get(key) if node else None


def _as_node(layers: _Layers) -> Node:
    node = layers.node or Node({}, Place("the manifest"))
    children = dict(node.value) if isinstance(node.value, dict) else {}
    if layers.redis:
        children["redis"] = layers.redis
    for kind, (name, options) in layers.transports.items():
        if options:
            children[kind] = replace(options, value={name: options})
    return replace(node, value=children)


def layer(lower: Node | None, upper: Node | None) -> Node | None:
    """Lay one connection over another; saying where Redis is takes the place of how it was found beneath."""
    if lower is None or upper is None or not isinstance(upper.value, dict):
        return lower if upper is None or upper.value is None else upper
    url, sentinel, beneath = upper.get("url"), upper.get("sentinel"), lower.get("url")
    dropped: set[str] = set()
    if (cluster := upper.get("cluster")) is not None and cluster.value is not None:
        dropped = {"url", "sentinel"}
    elif url is not None and url.value is not None:
        dropped = {"sentinel", "cluster"}
        if _has_userinfo(url):
            dropped |= {"username", "password"}
        if is_unix(str(url.value)):
            dropped |= {"tls"}
    elif sentinel and sentinel.value is not None:
        is_elsewhere = beneath and (is_unix(str(beneath.value)) or is_of_cluster(str(beneath.value)))
        dropped = {"cluster", "url"} if is_elsewhere else {"cluster"}
    return merge(_without(lower, *(dropped - upper.value.keys())) if dropped else lower, upper)


def _without(node: Node | None, *keys: str) -> Node | None:
    if node is None or not isinstance(node.value, dict):
        return None
    return replace(node, value={k: n for k, n in node.value.items() if k not in keys})


def _has_userinfo(url: Node) -> bool:
    try:
        return "@" in urlsplit(str(url.value)).netloc
    except ValueError:
        return False


def _says_where(node: Node | None) -> bool:
    found = (_child(node, key) for key in _PLACES)
    return any(n is not None and n.value is not None for n in found)


def _choice(cls: type[Any], key: str) -> OneOf:
    form = keys_of(cls)[key].form
    assert isinstance(form, OneOf)  # noqa: S101 - the type hints of ApiRecord and ContractOptions say so
    return form
