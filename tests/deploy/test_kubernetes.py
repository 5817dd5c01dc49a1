"""The overlays are valid and fit the service; and each rule notices what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.manifests import NO_KUBECTL, OVERLAYS, Object, build, can_build, of_kind, one, pod_of
from tests.deploy.rules import RULES, broken_rules
from tests.deploy.schemas import schema_errors

pytestmark = pytest.mark.skipif(not can_build(), reason=NO_KUBECTL)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_is_valid_by_all_schemas(overlay: str) -> None:
    objects = build(overlay)
    assert len(objects) >= 18
    assert [line for found in objects for line in schema_errors(found)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_breaks_no_rule(overlay: str) -> None:
    assert broken_rules(build(overlay)) == []


def test_nothing_lives_in_a_namespace_of_its_own() -> None:
    assert [found for overlay in OVERLAYS for found in build(overlay) if "namespace" in found["metadata"]] == []


def test_overlays_differ_in_what_they_are_for() -> None:
    gpu, cpu, dev = build("gpu"), build("cpu"), build("dev")
    limits = pod_of(one(gpu, "Deployment", "restore-worker"))["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    assert one(gpu, "ScaledObject", "restore-worker")["spec"]["minReplicaCount"] == 0
    assert one(cpu, "ScaledObject", "restore-worker")["spec"]["minReplicaCount"] == 1
    assert of_kind(dev, "StatefulSet")
    assert not of_kind(dev, "ScaledObject", "ServiceMonitor", "PodMonitor")


def container(objects: list[Object], name: str) -> Object:
    found: Object = pod_of(one(objects, "Deployment", name))["containers"][0]
    return found


def trigger(objects: list[Object], index: int) -> Object:
    found: Object = one(objects, "ScaledObject", "restore-worker")["spec"]["triggers"][index]["metadata"]
    return found


def settings(objects: list[Object]) -> Object:
    found: Object = next(found for found in of_kind(objects, "ConfigMap") if "VLMIR_HOST" in found["data"])["data"]
    return found


def put(place: Any, name: Any, value: Any) -> None:
    place[name] = value


Break = Callable[[list[Object]], Any]

BREAKS: dict[str, list[Break]] = {
    "probes_lead_somewhere": [
        lambda o: put(container(o, "restore-api")["livenessProbe"]["httpGet"], "path", "/health"),
        lambda o: put(container(o, "restore-worker")["livenessProbe"]["httpGet"], "port", "http"),
        lambda o: container(o, "restore-worker").pop("startupProbe"),
    ],
    "readiness_waits_for_the_right_thing": [
        lambda o: put(container(o, "restore-api")["readinessProbe"]["httpGet"], "path", "/readyz"),
        lambda o: put(container(o, "restore-worker")["readinessProbe"]["httpGet"], "path", "/healthz"),
        lambda o: put(container(o, "restore-worker")["livenessProbe"]["httpGet"], "path", "/readyz"),
    ],
    "ports_match": [
        lambda o: put(settings(o), "VLMIR_PORT", "8080"),
        lambda o: put(one(o, "Service", "restore-api")["spec"]["ports"][0], "targetPort", "web"),
        lambda o: put(one(o, "PodMonitor", "restore-worker")["spec"]["podMetricsEndpoints"][0], "port", "http"),
        lambda o: put(one(o, "ServiceMonitor", "restore-api")["spec"]["endpoints"][0], "path", "/prometheus"),
    ],
    "variables_are_settings": [
        lambda o: put(settings(o), "VLMIR_GRACE", "25"),
        lambda o: put(settings(o), "VLMIR_GRACE_S", "long"),
        lambda o: container(o, "restore-api").pop("env"),
    ],
    "services_inject_nothing": [
        lambda o: put(one(o, "Service", "restore-api")["metadata"], "name", "vlmir"),
        lambda o: pod_of(one(o, "Deployment", "restore-api")).pop("enableServiceLinks"),
    ],
    "drain_fits": [
        lambda o: put(settings(o), "VLMIR_GRACE_S", "85"),
        lambda o: put(pod_of(one(o, "Deployment", "restore-api")), "terminationGracePeriodSeconds", 12),
        lambda o: container(o, "restore-api").pop("lifecycle"),
    ],
    "autoscaler_reads_the_queue": [
        lambda o: put(trigger(o, 0), "stream", "vlmir:jobs:interactive"),
        lambda o: put(trigger(o, 2), "activationLagCount", "1"),
        lambda o: put(trigger(o, 3), "pendingEntriesCount", "50"),
        lambda o: put(trigger(o, 1), "consumerGroup", "worker"),
        lambda o: put(trigger(o, 1), "addressFromEnv", "REDIS_HOST"),
        lambda o: one(o, "ScaledObject", "restore-worker")["spec"]["triggers"].pop(1),
    ],
    "selectors_match": [
        lambda o: put(one(o, "Deployment", "restore-api")["spec"]["selector"]["matchLabels"], "x", "y"),
        lambda o: put(one(o, "PodDisruptionBudget", "restore-api")["spec"]["selector"]["matchLabels"], "x", "y"),
        lambda o: put(one(o, "ServiceMonitor", "restore-api")["spec"]["selector"]["matchLabels"], "x", "y"),
        lambda o: put(one(o, "Deployment", "restore-worker")["spec"], "replicas", 3),
        lambda o: put(one(o, "NetworkPolicy", "restore-dns")["spec"], "podSelector", {}),
    ],
    "pods_are_restricted": [
        lambda o: container(o, "restore-api").pop("securityContext"),
        lambda o: put(container(o, "restore-worker")["securityContext"], "readOnlyRootFilesystem", False),
        lambda o: put(pod_of(one(o, "Deployment", "restore-api"))["securityContext"], "runAsUser", 0),
        lambda o: pod_of(one(o, "Deployment", "restore-worker"))["securityContext"].pop("seccompProfile"),
        lambda o: pod_of(one(o, "Deployment", "restore-worker")).pop("automountServiceAccountToken"),
        lambda o: container(o, "restore-worker")["resources"].pop("requests"),
    ],
    "images_are_pinned": [
        lambda o: put(container(o, "restore-api"), "image", "vlmir-api:latest"),
        lambda o: put(container(o, "restore-api"), "image", "registry:5000/vlmir-api"),
    ],
    "secrets_are_references": [
        lambda o: put(container(o, "restore-api")["env"], 0, {"name": "VLMIR_REDIS_URL", "value": "redis://:a@b"}),
        lambda o: o.append({"kind": "Secret", "metadata": {"name": "restore-redis"}}),
    ],
    "network_is_closed": [
        lambda o: o.remove(one(o, "NetworkPolicy", "restore-default-deny")),
        lambda o: o.remove(one(o, "NetworkPolicy", "restore-dns")),
        lambda o: one(o, "NetworkPolicy", "restore-api")["spec"]["egress"].append({"to": []}),
    ],
}


def test_every_rule_is_shown_to_notice() -> None:
    assert {rule.__name__ for rule in RULES} == set(BREAKS)


@pytest.mark.parametrize("name", BREAKS)
def test_rule_notices(name: str) -> None:
    rule = next(rule for rule in RULES if rule.__name__ == name)
    for number, spoil in enumerate(BREAKS[name]):
        objects = build("gpu")
        spoil(objects)
        assert list(rule(objects)), f"break {number} goes unnoticed"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda o: put(container(o, "restore-api"), "redinessProbe", {}),
        lambda o: put(one(o, "HorizontalPodAutoscaler", "restore-api")["spec"], "maxReplicas", "many"),
        lambda o: put(one(o, "ScaledObject", "restore-worker")["spec"], "minReplicas", 0),
        lambda o: one(o, "ScaledObject", "restore-worker")["spec"].pop("triggers"),
        lambda o: put(one(o, "ServiceMonitor", "restore-api")["spec"]["endpoints"][0], "bearer", "x"),
        lambda o: put(one(o, "PodMonitor", "restore-worker"), "kind", "PodMonitors"),
    ],
)
def test_schemas_notice(spoil: Break) -> None:
    objects = build("gpu")
    spoil(objects)
    assert len([line for found in objects for line in schema_errors(found)]) == 1
