"""The objects for Kubernetes and KEDA."""

from __future__ import annotations

import urllib.request
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.servers import Server, free_port

from .conftest import CLUSTER, MANIFESTS, PLAIN, SECRETIVE, SENTINEL, Exporter

MODULE = """
    import lightbus

    class AuthApi(lightbus.Api):
        registered = lightbus.Event()
        forgotten = lightbus.Event()

        class Meta:
            name = "auth"

    class BillingApi(lightbus.Api):
        paid = lightbus.Event()

        class Meta:
            name = "billing"

    def send(event): ...
    def note(event): ...
    def beat(): ...
    """


def pod_of(exporter: Exporter, *args: str) -> tuple[Any, Any, Any]:
    """The Deployment, the specification of its pods, and their container."""
    (deployment,) = exporter.objects("kubernetes", *args)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return deployment, pod, container


def test_kubernetes_takes_the_deployment(each: Exporter) -> None:
    for it in each.objects("kubernetes"):
        for version in ("1.31", "1.33", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(it, version, strict=True)


def test_a_wrong_deployment_would_be_told(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    deployment, pod, _ = pod_of(exporter)
    pod["terminationGraceSeconds"] = pod.pop("terminationGracePeriodSeconds")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.31", strict=True)


def test_a_pod_is_probed_drained_and_hardened(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    deployment, pod, container = pod_of(exporter, "--image", "registry.example.com/shop:1")
    assert container["image"] == "registry.example.com/shop:1"
    assert pod["terminationGracePeriodSeconds"] > 90 + 15
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": 8099}]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_processes_of_a_manifest_are_pods_that_probes_can_reach(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    deployment, _, container = pod_of(exporter)
    assert deployment["spec"]["replicas"] == 4
    assert container["args"][-4:] == ["--set", "http.listen=0.0.0.0:8099", "--set", "processes=1"]
    exporter.write(PLAIN)
    deployment, _, container = pod_of(exporter)
    assert deployment["spec"]["replicas"] == 2
    assert container["args"] == ["lightbus", "run"]


def test_variables_and_files_come_from_a_secret_and_settings_from_a_config_map(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    _, pod, container = pod_of(exporter)
    name = "shop-of-ours"
    assert container["env"] == [
        {
            "name": "PATIENCE",
            "valueFrom": {"configMapKeyRef": {"name": name, "key": "PATIENCE", "optional": True}},
        },
        {"name": "REDIS_URL", "valueFrom": {"secretKeyRef": {"name": name, "key": "REDIS_URL"}}},
        {"name": "REDIS_USER", "valueFrom": {"secretKeyRef": {"name": name, "key": "REDIS_USER"}}},
    ]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    # A folder as a whole, since a password may change; a file alone where others are beside it.
    assert "subPath" not in mounts["/run/secrets"]
    assert mounts["/etc/ssl/certs/redis-ca.pem"]["subPath"] == "redis-ca.pem"
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert all(mount["name"] in volumes for mount in mounts.values())
    secret = volumes[mounts["/run/secrets"]["name"]]["secret"]
    assert secret == {"secretName": name, "items": [{"key": "redis_password", "path": "redis_password"}]}
    (text,) = exporter.files("kubernetes").values()
    created = [line for line in text.splitlines() if "kubectl create" in line]
    assert created == [
        f"#   kubectl create secret generic {name} --from-literal=REDIS_URL=... "
        "--from-literal=REDIS_USER=... --from-file=redis-ca.pem=... --from-file=redis_password=...",
        f"#   kubectl create configmap {name} --from-literal=PATIENCE=...",
    ]


def test_the_command_of_a_pod_starts_a_host_that_its_probes_can_ask(
    exporter: Exporter, redis_server: Server
) -> None:
    exporter.project.write("bus.py", MODULE)
    port = free_port()
    exporter.write(f"service_name: shop\nhttp: {{listen: {port}}}\nbus: {{redis: {{url: '${{REDIS_URL}}'}}}}")
    _, _, container = pod_of(exporter)
    host = exporter.project.start(*container["args"][1:], REDIS_URL=redis_server.url)
    host.wait_for_line("ready: ")
    for probe in ("livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            assert answer.status == 200


def triggers_of(exporter: Exporter) -> tuple[list[Any], list[Any]]:
    """The triggers, and where their secrets are."""
    scaled, *authentications = exporter.objects("keda")
    assert (
        scaled["kind"] == "ScaledObject"
        and scaled["spec"]["scaleTargetRef"]["name"] == scaled["metadata"]["name"]
    )
    assert {each["kind"] for each in authentications} <= {"TriggerAuthentication"}
    names = [each["metadata"]["name"] for each in authentications]
    for trigger in scaled["spec"]["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes strings"
        assert trigger.get("authenticationRef", {"name": None})["name"] in (None, *names)
    return scaled["spec"]["triggers"], authentications


@pytest.mark.parametrize("name", ["plain", "secretive"])
def test_keda_looks_at_the_streams_and_groups_that_there_are(
    exporter: Exporter, redis_server: Server, name: str
) -> None:
    exporter.project.write("bus.py", MODULE)
    exporter.write(MANIFESTS[name])
    triggers, _ = triggers_of(exporter)
    exporter.write(
        f"{MANIFESTS[name]}\n    modules: [bus]".replace("redis://redis:6379/2", redis_server.url)
        .replace("${REDIS_URL:?the Redis}", redis_server.url)
        .replace("        username: ${REDIS_USER}\n", "")
        .replace("        password: ${file:/run/secrets/redis_password}\n", "")
        .replace("        tls: {ca_file: /etc/ssl/certs/redis-ca.pem}\n", "")
        .replace('beat: {cron: "0 2 * * *", call: "bus:beat"}', 'beat: {every: 1h, call: "bus:beat"}')
        .replace("bus:off", "bus:send")
    )
    exporter.project.host("--set", "processes=1", "--set", f"http.listen={free_port()}")
    there = {
        (stream.decode(), dict(zip(group[::2], group[1::2], strict=True))[b"name"].decode())
        for stream in redis_server.execute("KEYS", "*:stream")
        if not stream.startswith(b"{")
        for group in redis_server.execute("XINFO", "GROUPS", stream)
    }
    looked_at = {(each["metadata"]["stream"], each["metadata"]["consumerGroup"]) for each in triggers}
    assert looked_at == there
    assert len(looked_at) == (1 if name == "plain" else 3)


def test_keda_reaches_redis_where_the_manifest_says(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    ((trigger,), authentications) = triggers_of(exporter)
    assert authentications == []
    assert trigger["type"] == "redis-streams"
    assert trigger["metadata"] == {
        "address": "redis:6379",
        "databaseIndex": "2",
        "stream": "auth.*:stream",
        "consumerGroup": "shop-send",
        "lagCount": "100",
    }
    exporter.write(SENTINEL)
    ((trigger,), (authentication,)) = triggers_of(exporter)
    assert trigger["type"] == "redis-sentinel-streams"
    assert trigger["metadata"]["addresses"] == "a:26379,b:26379"
    assert trigger["metadata"]["sentinelMaster"] == "main"
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "shop", "key": "pass-word"}
    ]


def test_keda_is_told_the_nodes_of_a_redis_cluster(exporter: Exporter) -> None:
    exporter.write(CLUSTER)
    ((trigger,), (authentication,)) = triggers_of(exporter)
    assert trigger["type"] == "redis-cluster-streams"
    assert trigger["metadata"]["addresses"] == "a:6379,b:6379"
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "shop", "key": "password"}
    ]
    exporter.write(PLAIN.replace("redis://redis:6379/2", "rediss+cluster://u:p@c:7000,d"))
    ((trigger,), (authentication,)) = triggers_of(exporter)
    assert trigger["type"] == "redis-cluster-streams"
    assert trigger["metadata"]["addresses"] == "c:7000,d:6379"
    assert trigger["metadata"]["enableTLS"] == "true"
    assert "databaseIndex" not in trigger["metadata"]
    assert [each["parameter"] for each in authentication["spec"]["secretTargetRef"]] == [
        "username",
        "password",
    ]


def test_what_only_the_reader_knows_is_named_at_the_top_of_kedas_file(exporter: Exporter) -> None:
    exporter.write(SECRETIVE)
    triggers, (authentication,) = triggers_of(exporter)
    assert {each["metadata"]["address"] for each in triggers} == {"HOST_IN_REDIS_URL:6379"}
    assert {each["metadata"]["enableTLS"] for each in triggers} == {"true"}
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "username", "name": "shop-of-ours", "key": "REDIS_USER"},
        {"parameter": "password", "name": "shop-of-ours", "key": "redis_password"},
    ]
    (text,) = exporter.files("keda").values()
    assert "# Replace HOST_IN_REDIS_URL by what REDIS_URL has there" in text


def test_the_lag_for_another_pod_is_as_it_was_asked_for(exporter: Exporter) -> None:
    exporter.write(PLAIN)
    (text,) = exporter.files("keda", "--lag", "7").values()
    (trigger,) = yaml.safe_load(text)["spec"]["triggers"]
    assert trigger["metadata"]["lagCount"] == "7"
