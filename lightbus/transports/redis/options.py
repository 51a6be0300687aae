"""The options of the Redis transports, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NewType

from lightbus.options import Duration, Secret, SecretUrl, option

from .url import is_of_cluster, nodes_of, place_of, place_of_cluster

#: A host and a port with a colon between them.
HostPort = NewType("HostPort", str)
#: A class as ``package.module.Name``.
ClassName = NewType("ClassName", str)

#: The most slots of a cluster at which a process waits by a connection for each, where it may choose.
MOST_BLOCKING = 32

#: The Redis that is used if nothing else is configured.
DEFAULT_URL = "redis://127.0.0.1:6379/0"


def is_unix(url: str) -> bool:
    """Tell whether a URL names a socket of this machine."""
    return url.startswith("unix:")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """How a TLS connection proves who is at either end."""

    ca_file: str | None = option(None, "The PEM file of the authority that signed the server's certificate.")
    cert_file: str | None = option(None, "The PEM file of the certificate that this process shows.")
    key_file: str | None = option(None, "The PEM file of that certificate's key.")
    verify: bool = option(True, "Whether the server's certificate and name are checked.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelTlsOptions(TlsOptions):
    """How a TLS connection to Sentinel proves who is at either end."""

    enabled: bool = option(True, "Whether there is TLS; false if Redis has it and its Sentinels have none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelOptions:
    """The Sentinels that name the primary."""

    service: str = option(description="The name that Sentinel has for the primary.")
    nodes: tuple[HostPort, ...] = option(description="The Sentinels, each as host:port.")
    username: str | None = option(None, "The user at the Sentinels.")
    password: Secret | None = option(None, "That user's password.")
    tls: SentinelTlsOptions | None = option(
        None, "Ask the Sentinels by TLS, with these certificates; left out, as Redis itself."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The cluster that the keys are spread over."""

    nodes: tuple[HostPort, ...] = option(
        description="Some of its nodes, each as host:port; they name the others."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionParameters:
    """The connection options of Lightbus 1.x."""

    maxsize: int = option(
        100,
        "From Lightbus 1.x, without effect: a process opens one, and one more per API and listener.",
        minimum=1,
        maximum=100_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """The connection to one Redis."""

    url: SecretUrl | None = option(None, f"The URL of Redis; {DEFAULT_URL} if not given.")
    username: str | None = option(None, "The user at Redis; wins over one in the URL.")
    password: Secret | None = option(None, "That user's password; wins over one in the URL.")
    tls: TlsOptions | None = option(None, "Connect by TLS, with these certificates.")
    sentinel: SentinelOptions | None = option(None, "Ask Sentinel where the primary is.")
    cluster: ClusterOptions | None = option(
        None,
        "Redis Cluster or Valkey Cluster: in place of url, as is a URL redis+cluster://host:port,host:port.",
    )
    waiting: Literal["auto", "blocking", "bell"] = option(
        "auto",
        "How a process waits at the slots of a cluster: blocking opens a connection for each; bell opens one "
        "for each node, on which publishers ring (Redis 7.0 or newer); auto takes bell above 32 slots.",
    )
    connection_parameters: ConnectionParameters = option(
        factory=ConnectionParameters, description="From Lightbus 1.x."
    )
    connect_timeout: Duration = option(
        Duration(5), "How long connecting may take before it is tried again.", minimum=0.001
    )
    command_timeout: Duration = option(
        Duration(4),
        "How long Redis may leave commands unanswered until the connection counts as dead.",
        minimum=0.001,
    )

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are spread over the nodes of a cluster."""
        return self.cluster is not None or (self.url is not None and is_of_cluster(self.url.current()))

    def hears_bells(self, slots: int) -> bool:
        """Tell whether a process that waits at so many slots does so by bells."""
        is_chosen = self.waiting == "bell" or (self.waiting == "auto" and slots > MOST_BLOCKING)
        return self.is_cluster and is_chosen

    @property
    def seeds(self) -> tuple[HostPort, ...]:
        """The nodes of a cluster that are known from the start; empty for one Redis."""
        if self.cluster is not None:
            return self.cluster.nodes
        return tuple(map(HostPort, nodes_of(self.url.current()))) if self.url and self.is_cluster else ()

    @property
    def key_of_nodes(self) -> str:
        """The key of a manifest that names nodes of a cluster; empty for one Redis."""
        if not self.is_cluster:
            return ""
        return "bus.redis.url" if self.cluster is None else "bus.redis.cluster.nodes"

    @property
    def address(self) -> str:
        """The address, without secrets; nothing is opened."""
        if self.cluster is not None:
            return place_of_cluster(self.cluster.nodes)
        place = place_of(self.url.current() if self.url is not None else DEFAULT_URL)
        if self.sentinel is None:
            return place
        db = place.rpartition("/")[2]
        return f"sentinel {self.sentinel.service} ({', '.join(self.sentinel.nodes)})/{db}"

    def contradiction(self) -> tuple[str, str] | None:
        """Return the key that can't stand beside another one and why; None if all go together."""
        if self.is_cluster and self.sentinel is not None:
            return "sentinel", "a cluster replaces its primaries by itself; leave sentinel or the cluster out"
        if self.cluster is not None and self.url is not None:
            return "cluster", "its nodes say where Redis is, and so does the url; leave one of them out"
        if self.cluster is not None and not self.cluster.nodes:
            return "cluster", "it names no node to begin with; give one or more, as nodes: [host:port]"
        if self.url is not None and is_unix(self.url.current()):
            if self.tls is not None:
                return "tls", "there is no TLS over a unix:// URL; leave it out, or give a rediss:// URL"
            if self.sentinel is not None:
                return "sentinel", "Sentinel tells where Redis is, and so does a unix:// URL; leave one out"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BusRedisOptions(RedisOptions):
    """The options that every Redis transport of the process starts from."""

    embedded: bool | None = option(
        None,
        "Whether the process starts a Redis of its own; left out, it does so if no URL is configured "
        "and nothing answers at the default one.",
    )

    def contradiction(self) -> tuple[str, str] | None:
        """Return the key that can't stand beside another one and why; None if all go together."""
        if self.embedded and self.is_cluster:
            return "embedded", "a Redis of the process's own is no cluster; leave it or the cluster out"
        # By its class: a dataclass with slots is another one than super() without arguments knows.
        return RedisOptions.contradiction(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisEventOptions(RedisOptions):
    """How events travel over Redis streams."""

    batch_size: int = option(
        100,
        "The most events that are read at a time; beyond free slots, only what takes a tenth of a second.",
        minimum=1,
    )
    reclaim_batch_size: int | None = option(
        None, "The most abandoned events taken over at a time; left out, all that there are.", minimum=1
    )
    serializer: ClassName = option(
        ClassName("lightbus.serializers.ByFieldMessageSerializer"),
        "The class that makes stream entries of events.",
    )
    deserializer: ClassName = option(
        ClassName("lightbus.serializers.ByFieldMessageDeserializer"),
        "The class that makes events of stream entries.",
    )
    acknowledgement_timeout: Duration = option(
        Duration(30), "The lease: how long after a process died its events go to another one.", minimum=0.1
    )
    reclaim_interval: Duration | None = option(
        None,
        "How often abandoned events are looked for; left out, a quarter of acknowledgement_timeout.",
        minimum=0.01,
    )
    max_stream_length: int | None = option(
        100_000,
        "The most events in a stream; null for any number. Events that a group has not acknowledged stay.",
        minimum=1,
    )
    when_full: Literal["wait", "drop_oldest"] = option(
        "wait",
        "When a stream is full of events that a group has not acknowledged: wait, then StreamFull is raised; "
        "or drop_oldest, which loses events, and counts them.",
    )
    replicas_before_confirmed: int = option(
        0,
        "How many replicas must have an event before fire() returns; with 0, a failover may lose events that "
        "were just fired.",
        minimum=0,
        maximum=100,
    )
    replicas_timeout: Duration = option(
        Duration(1),
        "How long those replicas are waited for, before PublishNotConfirmed is raised; event_fire_timeout "
        "bounds it, too.",
        minimum=0.001,
    )
    stream_use: Literal["per_api", "per_event"] = option(
        "per_api", "Whether the events of an API share one stream or have one each."
    )
    consumption_restart_delay: Duration = option(
        Duration(5), "The longest wait before reading goes on after an error.", minimum=0
    )
    consumer_ttl: Duration = option(
        Duration(2_592_000), "After how long an absent consumer that holds nothing is removed.", minimum=1
    )
    service_name: str | None = option(
        None, "The name in the consumer groups; left out, the process's service_name."
    )
    consumer_name: str | None = option(
        None, "The name in the consumer groups' lists; left out, the process_name."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisRpcOptions(RedisOptions):
    """How calls travel over Redis lists."""

    batch_size: int = option(
        100, "The most calls that are fetched ahead; never more than there are free slots.", minimum=1
    )
    serializer: ClassName = option(
        ClassName("lightbus.serializers.BlobMessageSerializer"), "The class that makes bytes of calls."
    )
    deserializer: ClassName = option(
        ClassName("lightbus.serializers.BlobMessageDeserializer"), "The class that makes calls of bytes."
    )
    rpc_timeout: Duration | None = option(
        None, "How long a call is kept for a worker; left out, the API's rpc_timeout.", minimum=0.001
    )
    max_queue_length: int | None = option(
        10_000,
        "How many calls may wait for a worker; null for any number. Further ones raise QueueFull.",
        minimum=1,
    )
    rpc_retry_delay: Duration = option(
        Duration(1), "The longest wait before answers are sent or read again after an error.", minimum=0
    )
    consumption_restart_delay: Duration = option(
        Duration(5), "The longest wait before reading goes on after an error.", minimum=0
    )
    result_ttl: Duration = option(
        Duration(60), "How long an answer that nobody fetches is kept.", minimum=0.001
    )
    #: From the options of result_transport.
    result_serializer: ClassName = ClassName("lightbus.serializers.BlobMessageSerializer")
    result_deserializer: ClassName = ClassName("lightbus.serializers.BlobMessageDeserializer")
    #: The Redis of answers, if they do not travel over the connection of calls.
    results: RedisOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisResultOptions(RedisOptions):
    """How answers travel, as Lightbus 1.x configures it: apart from the calls."""

    serializer: ClassName = option(
        ClassName("lightbus.serializers.BlobMessageSerializer"), "The class that makes bytes of answers."
    )
    deserializer: ClassName = option(
        ClassName("lightbus.serializers.BlobMessageDeserializer"), "The class that makes answers of bytes."
    )
    result_ttl: Duration = option(
        Duration(60), "How long an answer that nobody fetches is kept.", minimum=0.001
    )
    rpc_timeout: Duration | None = option(
        None, "From Lightbus 1.x, without effect: the API's rpc_timeout counts.", minimum=0.001
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSchemaOptions(RedisOptions):
    """How contracts are kept in Redis."""
