"""What the schemas say: those of Kubernetes, and those of the custom resources of KEDA and the Prometheus operator."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from tests.deploy.manifests import Object, name_of

KUBERNETES = "1.34"
"""Version whose schemas count; everything used here has been stable since 1.27 or longer."""

CUSTOM = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
"""Modules with models that were made from the custom resource definitions."""


def schema_errors(found: Object) -> list[str]:
    """What is wrong with an object by its schema, unknown fields too; nothing when it is well."""
    module = CUSTOM.get(found["apiVersion"])
    errors = _own_errors(found) if module is None else _custom_errors(found, module)
    return [f"{name_of(found)}: {error}" for error in errors]


def _own_errors(found: Object) -> list[str]:
    import kubernetes_validate

    logging.getLogger("kubernetes_validate").setLevel(logging.ERROR)
    try:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"there is no {found['kind']} in {found['apiVersion']}"]
    return []


def _custom_errors(found: Object, module: str) -> list[str]:
    kind = getattr(importlib.import_module(module), found["kind"], None)
    if kind is None:
        return [f"there is no {found['kind']} in {found['apiVersion']}"]
    try:
        known = kind.model_validate(found)
    except ValueError as error:
        return [str(error)]
    # The models pass over fields that they do not know, so what does not come back was not known.
    return list(_lost(found, known.model_dump(mode="json", by_alias=True, exclude_unset=True), ""))


def _lost(given: Any, kept: Any, place: str) -> list[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        lost = [f"{place}.{name}: no such field" for name in given if name not in kept]
        for name in given:
            if name in kept:
                lost += _lost(given[name], kept[name], f"{place}.{name}")
        return lost
    if isinstance(given, list) and isinstance(kept, list):
        return [
            line
            for index, pair in enumerate(zip(given, kept, strict=True))
            for line in _lost(*pair, f"{place}[{index}]")
        ]
    return []
