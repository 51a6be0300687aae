"""A Deployment for Kubernetes, with probes, a drain that is waited for, and secrets by reference."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from .inputs import File, Variable
from .service import IMAGE_FOLDER, IMAGE_USER, Service
from .writing import indented, list_in_yaml, text_in_yaml

_DEPLOYMENT = """\
{header}#
#   kubectl apply -f kubernetes.yaml
{inputs}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {slug}
  labels: &labels
    app.kubernetes.io/name: {slug}
    app.kubernetes.io/part-of: lightbus
spec:
{replicas}  selector:
    matchLabels:
      app.kubernetes.io/name: {slug}
  # A new pod is ready before an old one goes: no call is without a worker.
  strategy:
    type: RollingUpdate
    rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata:
      labels: *labels
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "{port}"
        prometheus.io/path: /metrics
    spec:
      # bus.drain_timeout, and what closing takes.
      terminationGracePeriodSeconds: {grace}
      automountServiceAccountToken: false
      # Else a Service that is called lightbus would set variables that look like settings.
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: {user}
        runAsGroup: {user}
        fsGroup: {user}
        seccompProfile: {{type: RuntimeDefault}}
      containers:
        - name: {slug}
          image: {image}
          args: {command}
{environment}          ports:
            - {{name: http, containerPort: {port}}}
          # Blocked for http.dead_after: started again. It never asks Redis.
          livenessProbe:
            httpGet: {{path: /livez, port: http}}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          # Every API and listener reads.
          readinessProbe:
            httpGet: {{path: /readyz, port: http}}
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 2
          resources: # Measure, and say it better.
            requests: {{cpu: 100m, memory: 128Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
          volumeMounts:
            - {{name: tmp, mountPath: /tmp}}
{mounts}      volumes:
        - {{name: tmp, emptyDir: {{}}}}
{volumes}"""
#: Folders in which an image has nothing, so that a volume hides nothing there.
_OWN_FOLDERS = ("/mnt/", "/run/", "/secrets", "/var/run/")


def deployment(service: Service, image: str) -> dict[str, str]:
    """Return the Deployment, by the name of its file.

    Args:
        service: The service.
        image: The image that it runs.
    """
    service.need_port("Kubernetes")
    service.need_redis("in a pod")
    processes = service.manifest.processes
    more = service.in_container()
    why = "Two, so that one can go."
    if processes > 1:
        more, why = [*more, "processes=1"], f"processes: {processes}; here, each is a pod that has probes."
    mounts, volumes = _files(service)
    text = _DEPLOYMENT.format(
        header=service.header,
        slug=service.slug,
        inputs="".join(f"# {line}\n".replace("# \n", "#\n") for line in _told(service)),
        replicas=indented([f"# {why}", f"replicas: {max(2, processes)}"], 2),
        grace=service.grace,
        user=IMAGE_USER,
        image=text_in_yaml(image),
        command=list_in_yaml(service.run(*more)),
        environment=_environment(service),
        port=service.port,
        mounts=indented(mounts, 12),
        volumes=indented(volumes, 8),
    )
    return {"kubernetes.yaml": text}


def _told(service: Service) -> Iterator[str]:
    """Say which objects it needs beside it."""
    slug, inputs = service.slug, service.inputs
    secrets = [f"--from-literal={variable.name}=..." for variable in inputs.secrets]
    secrets += [f"--from-file={file.key}=..." for file in inputs.files]
    settings = [f"--from-literal={variable.name}=..." for variable in inputs.settings]
    if secrets or settings:
        yield ""
        yield "Before, once:"
    for kind, values in (("secret generic", secrets), ("configmap", settings)):
        if values:
            yield f"  kubectl create {kind} {slug} {' '.join(values)}"


def _environment(service: Service) -> str:
    lines: list[str] = []
    for variable in service.inputs.variables:
        lines += [
            f"- name: {variable.name} # {variable.use}",
            f"  valueFrom: {_reference(variable, service.slug)}",
        ]
    return f"{' ' * 10}env:\n{indented(lines, 12)}" if lines else ""


def _reference(variable: Variable, slug: str) -> str:
    kind = "secretKeyRef" if variable.is_secret else "configMapKeyRef"
    optional = ", optional: true" if variable.is_optional else ""
    return f"{{{kind}: {{name: {slug}, key: {variable.name}{optional}}}}}"


def _files(service: Service) -> tuple[list[str], list[str]]:
    """Return the mounts and the volumes of files: a folder at a time, so that changes of a secret arrive."""
    mounts: list[str] = []
    volumes: list[str] = []
    folders: dict[str, list[File]] = {}
    for file in service.inputs.files:
        folders.setdefault(posixpath.dirname(file.within(IMAGE_FOLDER)), []).append(file)
    for number, (folder, files) in enumerate(sorted(folders.items()), 1):
        name = f"files-{number}"
        items = ", ".join(f"{{key: {text_in_yaml(f.key)}, path: {text_in_yaml(f.name)}}}" for f in files)
        volumes += [f"# {file.use}" for file in files]
        volumes.append(f"- {{name: {name}, secret: {{secretName: {service.slug}, items: [{items}]}}}}")
        if not folder.startswith(_OWN_FOLDERS):
            # One by one, since others are in that folder, too; these do not change while a pod runs.
            for file in files:
                at = f"{text_in_yaml(file.within(IMAGE_FOLDER))}, subPath: {text_in_yaml(file.name)}"
                mounts.append(f"- {{name: {name}, mountPath: {at}, readOnly: true}}")
        else:
            mounts.append(f"- {{name: {name}, mountPath: {text_in_yaml(folder)}, readOnly: true}}")
    return mounts, volumes
