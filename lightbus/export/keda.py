"""A ScaledObject for KEDA: as many pods as the events need that wait for the service's listeners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from lightbus.declared.listener import ListenerOptions
from lightbus.manifest.problems import Place
from lightbus.manifest.text.nodes import Node
from lightbus.manifest.text.variables import expressions
from lightbus.transports.redis.keys import stream_key
from lightbus.transports.redis.options import DEFAULT_URL, RedisEventOptions, is_unix
from lightbus.transports.redis.url import at_node

from .inputs import Use, key_of
from .service import Service
from .writing import indented, text_in_yaml

_SCALED = """\
{header}#
# It needs KEDA, and Redis 7 or Valkey, which know how far a group is behind.
#   kubectl apply -f keda.yaml
# It says how many pods there are, so take `replicas` out of kubernetes.yaml.
{placeholders}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {slug}
  labels: {{app.kubernetes.io/name: {slug}, app.kubernetes.io/part-of: lightbus}}
spec:
  scaleTargetRef: {{name: {slug}}}
  # Calls have to be answered and groups looked after, whether or not events wait.
  minReplicaCount: {least}
  maxReplicaCount: {most}
  triggers:
{triggers}{authentication}"""
_AUTHENTICATION = """\
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {slug}, app.kubernetes.io/part-of: lightbus}}
spec:
  secretTargetRef:
{parameters}"""
_MOST = 10


@dataclass(frozen=True, slots=True)
class _Trigger:
    """One group of one stream.

    Args:
        listener: The listener whose group it is.
        stream: The key of the stream.
        group: The group's name.
        api: The API whose transport says where Redis is.
        options: The options of that transport.
    """

    listener: str
    stream: str
    group: str
    api: str
    options: RedisEventOptions


def scaled_object(service: Service, lag: int) -> dict[str, str]:
    """Return the ScaledObject and what it needs, by the name of its file.

    Args:
        service: The service.
        lag: For how many waiting events of one listener there is to be another pod.
    """
    service.need_redis("in a cluster")
    triggers = list(_triggers(service))
    if not triggers and not service.problems.found:
        what = (
            "KEDA looks at what waits for listeners, and the manifest has none; declare them there, since "
            "those that code declares are not seen"
        )
        service.lacks("listeners", what)
    written = _Triggers(service, lag)
    text = _SCALED.format(
        header=service.header,
        slug=service.slug,
        triggers="".join(written.text_of(trigger) for trigger in triggers),
        placeholders=indented((f"# {line}" for line in written.to_replace), 0),
        least=max(2, service.manifest.processes),
        most=max(_MOST, 2 * service.manifest.processes),
        authentication=written.authentication(),
    )
    return {"keda.yaml": text}


def _triggers(service: Service) -> Iterator[_Trigger]:
    manifest = service.manifest
    listeners = manifest.listeners.items() if "events" in manifest.features else ()
    seen: set[tuple[str, str]] = set()
    for name, listener in listeners:
        if not listener.enabled:
            continue
        for trigger in _of_listener(service, name, listener):
            if (trigger.stream, trigger.group) not in seen:
                seen.add((trigger.stream, trigger.group))
                yield trigger


def _of_listener(service: Service, name: str, listener: ListenerOptions) -> Iterator[_Trigger]:
    for api, event in listener.pairs:
        chosen = service.manifest.api(api).event_transport
        if not isinstance(chosen.options, RedisEventOptions):
            what = f"the events of {api} go by the transport {chosen.name}, at which KEDA can't look"
            service.lacks(f"apis.{api}.event_transport", what)
            continue
        options = chosen.options
        if event == "*" and options.stream_use == "per_event":
            what = f"{api}.* has a stream for each event, which only its contract names; list the events"
            service.lacks(f"listeners.{name}.events", what)
            continue
        group = f"{options.service_name or service.name}-{name}"
        yield _Trigger(name, stream_key(api, event, options.stream_use), group, api, options)


class _Triggers:
    """Writes triggers, and notes what they need besides.

    Args:
        service: The service.
        lag: For how many waiting events of one listener there is to be another pod.
    """

    def __init__(self, service: Service, lag: int) -> None:
        self._service = service
        self._tree = service.manifest.tree or Node({}, Place(""))
        self._lag = lag
        #: The keys of the Secret that triggers take, as pairs of parameter and key; each with a name.
        self._secrets: dict[tuple[tuple[str, str], ...], str] = {}
        #: Says what only the reader can put in.
        self.to_replace: dict[str, None] = {}

    def text_of(self, trigger: _Trigger) -> str:
        """Return one trigger as text."""
        options, api = trigger.options, trigger.api
        path = f"apis.{api if api in self._service.manifest.apis else 'default'}.event_transport.redis"
        secret: dict[str, str] = {}
        kind, where = "redis-streams", {}
        if options.cluster is not None:
            kind, where = "redis-cluster-streams", {"addresses": ",".join(options.seeds)}
        elif options.sentinel is not None:
            kind, nodes = "redis-sentinel-streams", ",".join(options.sentinel.nodes)
            where = {"addresses": nodes, "sentinelMaster": options.sentinel.service}
        else:
            where = self._address(f"{path}.url", options, secret)
            if options.is_cluster:
                kind = "redis-cluster-streams"
                where = {"addresses": where.pop("address", ""), **where}
                where.pop("databaseIndex", None)
        for name in ("username", "password"):
            node = self._tree.find(f"{path}.{name}")
            if node is not None and node.value is not None:
                secret[name] = self._key_of(node) or f"redis-{name}"
        if options.tls is not None:
            where["enableTLS"] = "true"
        metadata = {
            **where,
            "stream": trigger.stream,
            "consumerGroup": trigger.group,
            "lagCount": str(self._lag),
        }
        lines = [f"# The listener {trigger.listener}.", f"- type: {kind}", "  metadata:"]
        # All values are strings, numbers too.
        lines += [f"    {name}: {text_in_yaml(value)}" for name, value in metadata.items()]
        if secret:
            number = len(self._secrets) + 1
            fresh = f"{self._service.slug}-redis{f'-{number}' if number > 1 else ''}"
            reference = self._secrets.setdefault(tuple(secret.items()), fresh)
            lines.append(f"  authenticationRef: {{name: {reference}}}")
        return indented(lines, 4)

    def authentication(self) -> str:
        """Return the objects that tell KEDA where the secrets are."""
        slug, parts = self._service.slug, []
        for secret, name in self._secrets.items():
            lines = [
                f"- {{parameter: {each}, name: {slug}, key: {text_in_yaml(key)}}}" for each, key in secret
            ]
            parts.append(_AUTHENTICATION.format(slug=slug, name=name, parameters=indented(lines, 4)))
        return "".join(parts)

    def _address(self, path: str, options: RedisEventOptions, secret: dict[str, str]) -> dict[str, str]:
        """Return where Redis is; what the manifest leaves to the environment is a name to be replaced."""
        node = self._tree.find(path)
        if node is not None and node.written is not None:
            name = self._key_of(node) or "REDIS_URL"
            self.to_replace[f"Replace HOST_IN_{name} by what {name} has there ({Use(path, node.place)})."] = (
                None
            )
            self.to_replace[
                "If it has a password: give that apart from the URL, as password; write anew."
            ] = None
            return {"address": f"HOST_IN_{name}:6379"}
        url = options.url.reveal() if options.url is not None else DEFAULT_URL
        if is_unix(url):
            self._service.lacks(path, "is a socket of one machine, at which KEDA can't look")
            return {}
        seeds = options.seeds
        parts = urlsplit(at_node(url, seeds[0]) if seeds else url)
        for name in ("username", "password"):
            if getattr(parts, name):
                secret[name] = f"redis-{name}"
        database = parts.path.strip("/") or parse_qs(parts.query).get("db", ["0"])[0]
        tls = {"enableTLS": "true"} if parts.scheme == "rediss" else {}
        if seeds:
            return {"address": ",".join(seeds), **tls}
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
        return {"address": f"{host}:{parts.port or 6379}", "databaseIndex": database, **tls}

    def _key_of(self, node: Node) -> str | None:
        """Return the name of the variable or file that a value comes from, as the Deployment has it."""
        for each in expressions(node.written or ""):
            return each.name or key_of(each.file)
        return None
