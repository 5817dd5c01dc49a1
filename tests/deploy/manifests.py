"""The Kubernetes objects of the overlays, as `kubectl kustomize` builds them."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("cpu", "gpu", "dev")
NO_KUBECTL = (
    "there is no kubectl with kustomize 5 or newer (kubectl 1.27); on Debian 13: apt-get install kubernetes-client"
)

Object = dict[str, Any]


@functools.cache
def can_build() -> bool:
    """Whether there is a kubectl that knows components and labels; that of Debian 12 does not."""
    if shutil.which("kubectl") is None:
        return False
    done = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=60)
    version = json.loads(done.stdout or "{}").get("kustomizeVersion", "")
    found = re.match(r"v(\d+)\.", version)
    return found is not None and int(found[1]) >= 5


@functools.cache
def _built(overlay: str) -> str:
    done = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns of fields that it will drop
    return done.stdout


def build(overlay: str) -> list[Object]:
    """All objects of an overlay, the caller's own to change."""
    return [found for found in yaml.safe_load_all(_built(overlay)) if found]


def name_of(found: Object) -> str:
    return f"{found['kind']}/{found['metadata']['name']}"


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [found for found in objects if found["kind"] in kinds]


def one(objects: list[Object], kind: str, name: str) -> Object:
    return next(found for found in of_kind(objects, kind) if found["metadata"]["name"] == name)


def workloads(objects: list[Object]) -> list[Object]:
    """Whatever makes pods."""
    return of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job")


def pod_of(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def labels_of(workload: Object) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def containers(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each workload with each of its containers."""
    for workload in workloads(objects):
        for container in [*pod_of(workload).get("initContainers", []), *pod_of(workload)["containers"]]:
            yield workload, container


def environment(objects: list[Object], container: Object) -> dict[str, str | None]:
    """The variables of a container with those of its config maps; None for values of secrets."""
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= one(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value")
    return found


def component(workload: Object) -> str:
    """api, worker or redis."""
    return labels_of(workload)["app.kubernetes.io/component"]


def names_of_ports(container: Object) -> set[str]:
    return {port["name"] for port in container.get("ports", [])}


def selected(objects: list[Object], wanted: dict[str, str]) -> list[Object]:
    """Workloads whose pods have these labels."""
    return [workload for workload in workloads(objects) if wanted.items() <= labels_of(workload).items()]
