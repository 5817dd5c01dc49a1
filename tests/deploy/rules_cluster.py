"""Rules among the manifests themselves: who selects whom, what pods may do, what reaches what.

Each takes all objects of one overlay and gives a line for everything that breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from app.settings import ENV_PREFIX, Settings
from tests.deploy.manifests import (
    Object,
    component,
    containers,
    environment,
    name_of,
    of_kind,
    one,
    pod_of,
    selected,
    workloads,
)


def selectors_match(objects: list[Object]) -> Iterator[str]:
    for workload in workloads(objects):
        if workload not in selected(objects, workload["spec"]["selector"]["matchLabels"]):
            yield f"{name_of(workload)}: its selector does not match its own pods"
        for spread in pod_of(workload).get("topologySpreadConstraints", []):
            if selected(objects, spread["labelSelector"]["matchLabels"]) != [workload]:
                yield f"{name_of(workload)}: spreads other pods than its own"
    for found in of_kind(objects, "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        spec = found["spec"]
        selector = spec["podSelector"] if "podSelector" in spec else spec["selector"]
        wanted = selector.get("matchLabels", selector)
        if not wanted or not selected(objects, wanted):
            yield f"{name_of(found)}: selects no pod, or all of the namespace: {selector}"
    for found in of_kind(objects, "ServiceMonitor"):
        wanted = found["spec"]["selector"]["matchLabels"]
        if not [s for s in of_kind(objects, "Service") if wanted.items() <= s["metadata"]["labels"].items()]:
            yield f"{name_of(found)}: selects no Service"
    for found in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        target = found["spec"]["scaleTargetRef"]
        workload = one(objects, target["kind"], target["name"])
        if "replicas" in workload["spec"]:
            yield f"{name_of(workload)}: has replicas, which each apply would set back under {name_of(found)}"


def pods_are_restricted(objects: list[Object]) -> Iterator[str]:
    """The restricted Pod Security Standard, and a read-only root."""
    for workload in workloads(objects):
        pod = pod_of(workload)
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name_of(workload)}: may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name_of(workload)}: no seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name_of(workload)}: gets a token of the cluster"
        if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name_of(workload)}: shares namespaces of the node"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield f"{name_of(workload)}: mounts a folder of the node"
        if not pod.get("priorityClassName"):
            yield f"{name_of(workload)}: no priority"
    for workload, container in containers(objects):
        context = container.get("securityContext", {})
        wanted: dict[str, Any] = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if context != wanted:
            yield f"{name_of(workload)}: security context is {context}, expected {wanted}"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
            yield f"{name_of(workload)}: requests or limits are missing: {resources}"


def images_are_pinned(objects: list[Object]) -> Iterator[str]:
    for workload, container in containers(objects):
        if not re.search(r":[0-9][^@/]*(@sha256:[0-9a-f]{64})?$", container["image"]):
            yield f"{name_of(workload)}: image {container['image']} has no version"


def secrets_are_references(objects: list[Object]) -> Iterator[str]:
    yield from (f"{name_of(found)}: a secret in the repository" for found in of_kind(objects, "Secret"))
    secret = {f"{ENV_PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if not field.repr}
    for workload, container in containers(objects):
        told = environment(objects, container)
        yield from (f"{name_of(workload)}: {name} has its value here" for name in secret & set(told) if told[name])


def network_is_closed(objects: list[Object]) -> Iterator[str]:
    policies = of_kind(objects, "NetworkPolicy")
    for workload in workloads(objects):
        mine = [p for p in policies if workload in selected(objects, p["spec"]["podSelector"].get("matchLabels", {}))]
        denied = [p for p in mine if set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"} and len(p["spec"]) == 2]
        if not denied:
            yield f"{name_of(workload)}: no policy denies what no other allows"
        ports = {port["port"] for p in mine for way in p["spec"].get("egress", []) for port in way.get("ports", [])}
        if component(workload) != "redis" and not {53, 6379} <= ports:
            yield f"{name_of(workload)}: cannot reach names or Redis: {ports}"
        if any(not way.get("ports") for p in mine for way in p["spec"].get("egress", [])):
            yield f"{name_of(workload)}: may reach every port of somebody"
