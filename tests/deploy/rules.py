"""All rules that no schema knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.deploy import rules_cluster, rules_service
from tests.deploy.manifests import Object

RULES: tuple[Callable[[list[Object]], Iterable[str]], ...] = (
    rules_service.probes_lead_somewhere,
    rules_service.readiness_waits_for_the_right_thing,
    rules_service.ports_match,
    rules_service.variables_are_settings,
    rules_service.services_inject_nothing,
    rules_service.drain_fits,
    rules_service.autoscaler_reads_the_queue,
    rules_cluster.selectors_match,
    rules_cluster.pods_are_restricted,
    rules_cluster.images_are_pinned,
    rules_cluster.secrets_are_references,
    rules_cluster.network_is_closed,
)


def broken_rules(objects: list[Object]) -> list[str]:
    """A line for everything that breaks one, with the name of the rule."""
    return [f"{rule.__name__}: {line}" for rule in RULES for line in rule(objects)]
