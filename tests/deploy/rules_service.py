"""Rules between the manifests and the service: what it answers, reads, is called and takes to stop.

Each takes all objects of one overlay and gives a line for everything that breaks it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from app.api.app import create_app
from app.commands.roles import GRACEFUL_STOP_S
from app.jobs.job import PRIORITIES
from app.jobs.keys import GROUP, Keys
from app.settings import ENV_PREFIX, Settings
from app.worker.loop import HAND_BACK_S
from tests.deploy.manifests import (
    Object,
    component,
    containers,
    environment,
    name_of,
    names_of_ports,
    of_kind,
    one,
    pod_of,
    selected,
    workloads,
)

WORKER_PATHS = {"/healthz", "/readyz", "/metrics"}
"""What a worker's metrics port answers; tests/integration/test_worker_probes.py asks a real one."""

MARGIN_S = 5.0
"""Between the longest drain and the kill: the interpreter ends, Redis is told."""


@functools.cache
def paths_of_api() -> set[str]:
    """All routes of the API."""
    app = create_app(Settings(redis_url="redis://127.0.0.1:1"))
    return set(app.openapi()["paths"])


def probes_lead_somewhere(objects: list[Object]) -> Iterator[str]:
    paths = {"api": paths_of_api(), "worker": WORKER_PATHS}
    for workload, container in containers(objects):
        kinds = {"startupProbe", "readinessProbe"} if component(workload) == "redis" else set()
        for kind in kinds or {"startupProbe", "readinessProbe", "livenessProbe"}:
            probe = container.get(kind)
            if probe is None:
                yield f"{name_of(workload)}: no {kind}"
            elif "httpGet" in probe and probe["httpGet"]["path"] not in paths[component(workload)]:
                yield f"{name_of(workload)}: {kind} asks for {probe['httpGet']['path']}, which is not answered"
            elif "httpGet" in probe and probe["httpGet"]["port"] not in names_of_ports(container):
                yield f"{name_of(workload)}: {kind} asks port {probe['httpGet']['port']}, which the container has not"


def readiness_waits_for_the_right_thing(objects: list[Object]) -> Iterator[str]:
    for workload, container in containers(objects):
        path = container["readinessProbe"].get("httpGet", {}).get("path")
        if component(workload) == "api" and path != "/healthz":
            yield f"{name_of(workload)}: readiness by {path}: without a warm worker nobody could send what wakes one"
        if component(workload) == "worker":
            if path != "/readyz" or container["startupProbe"]["httpGet"]["path"] != "/readyz":
                yield f"{name_of(workload)}: not ready by /readyz, so before its models are warm"
            if container["livenessProbe"]["httpGet"]["path"] != "/healthz":
                yield f"{name_of(workload)}: liveness by more than /healthz: it would be killed while it drains"


def ports_match(objects: list[Object]) -> Iterator[str]:
    settings = {"api": "VLMIR_PORT", "worker": "VLMIR_METRICS_PORT"}
    for workload, container in containers(objects):
        setting = settings.get(component(workload))
        if setting is None:
            continue
        told = environment(objects, container).get(setting)
        if [str(port["containerPort"]) for port in container["ports"]] != [told]:
            yield f"{name_of(workload)}: {setting} is {told}, the container has {container['ports']}"
    for service in of_kind(objects, "Service"):
        for workload in selected(objects, service["spec"]["selector"]):
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in names_of_ports(pod_of(workload)["containers"][0]):
                    yield f"{name_of(service)}: no port {port['targetPort']} in {name_of(workload)}"
    for monitor in of_kind(objects, "ServiceMonitor"):
        names = {port["name"] for service in of_kind(objects, "Service") for port in service["spec"]["ports"]}
        yield from (
            f"{name_of(monitor)}: {end}" for end in monitor["spec"]["endpoints"]
            if end["port"] not in names or end["path"] not in paths_of_api()
        )  # fmt: skip
    for monitor in of_kind(objects, "PodMonitor"):
        for workload in selected(objects, monitor["spec"]["selector"]["matchLabels"]):
            names = names_of_ports(pod_of(workload)["containers"][0])
            yield from (
                f"{name_of(monitor)}: {end}"
                for end in monitor["spec"]["podMetricsEndpoints"]
                if end["port"] not in names
            )


def variables_are_settings(objects: list[Object]) -> Iterator[str]:
    for workload, container in containers(objects):
        told = environment(objects, container)
        names = {variable.removeprefix(ENV_PREFIX).lower() for variable in told if variable.startswith(ENV_PREFIX)}
        yield from (f"{name_of(workload)}: no setting {name}" for name in sorted(names - set(Settings.model_fields)))
        if component(workload) == "redis":
            continue
        given = {name: told[ENV_PREFIX + name.upper()] for name in names & set(Settings.model_fields)}
        try:
            Settings.model_validate({name: value for name, value in given.items() if value is not None})
        except ValueError as error:
            yield f"{name_of(workload)}: {error}"
        if "VLMIR_REDIS_URL" not in told:
            yield f"{name_of(workload)}: no VLMIR_REDIS_URL"


def services_inject_nothing(objects: list[Object]) -> Iterator[str]:
    """Kubernetes sets NAME_PORT and the like for every Service; VLMIR_PORT must not come from there."""
    prefix = ENV_PREFIX.rstrip("_")
    for service in of_kind(objects, "Service"):
        if service["metadata"]["name"].upper().replace("-", "_").startswith(prefix):
            yield f"{name_of(service)}: its name begins as the variables of the settings do"
    for workload in workloads(objects):
        if pod_of(workload).get("enableServiceLinks") is not False:
            yield f"{name_of(workload)}: enableServiceLinks is not false"


def drain_fits(objects: list[Object]) -> Iterator[str]:
    for workload, container in containers(objects):
        grace_s = pod_of(workload).get("terminationGracePeriodSeconds", 30)
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        needed_s = float(hook[-1]) + MARGIN_S
        if component(workload) == "worker":
            told = environment(objects, container).get("VLMIR_GRACE_S") or Settings.model_fields["grace_s"].default
            needed_s += float(told) + HAND_BACK_S
        elif component(workload) == "api":
            needed_s += GRACEFUL_STOP_S
            if hook[0] != "sleep":
                yield f"{name_of(workload)}: no preStop, so balancers send to what has stopped listening"
        if grace_s < needed_s:
            yield f"{name_of(workload)}: killed after {grace_s} s, but draining may take {needed_s:.0f} s"


def autoscaler_reads_the_queue(objects: list[Object]) -> Iterator[str]:
    """Both triggers for each stream under its real name, or no ScaledObject at all."""
    for scaled in of_kind(objects, "ScaledObject"):
        spec, keys = scaled["spec"], Keys()
        told = [trigger["metadata"] for trigger in spec["triggers"]]
        worker = one(objects, "Deployment", spec["scaleTargetRef"]["name"])
        variables = environment(objects, pod_of(worker)["containers"][0])
        for priority in PRIORITIES:
            mine = [one_of for one_of in told if one_of["stream"] == keys.stream(priority)]
            lag = [one_of for one_of in mine if "lagCount" in one_of]
            pending = [one_of for one_of in mine if "pendingEntriesCount" in one_of]
            if len(mine) != 2 or len(lag) != 1 or len(pending) != 1:
                yield f"{name_of(scaled)}: {keys.stream(priority)} needs one trigger by lag and one by pending entries"
            elif lag[0].get("activationLagCount") != "0":
                yield f"{name_of(scaled)}: the first waiting job does not wake a worker"
            elif int(pending[0]["pendingEntriesCount"]) > Settings.model_fields["worker_concurrency"].default:
                yield f"{name_of(scaled)}: more pending entries per worker than one holds; busy ones would stop"
        for one_of in told:
            if one_of["stream"] not in {keys.stream(priority) for priority in PRIORITIES}:
                yield f"{name_of(scaled)}: no stream {one_of['stream']}"
            if one_of["consumerGroup"] != GROUP:
                yield f"{name_of(scaled)}: no group {one_of['consumerGroup']}"
            if one_of["addressFromEnv"] not in variables:
                yield f"{name_of(scaled)}: workers have no variable {one_of['addressFromEnv']}"
        if (
            spec["cooldownPeriod"] < spec["pollingInterval"]
            or not 0 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
        ):
            yield f"{name_of(scaled)}: bounds or times contradict one another"
