"""What this very service takes, in its description: the names of its models, and where photos may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.settings import Settings


def describe_choices(schema: dict[str, Any], settings: Settings) -> None:
    """Narrow the options of requests to what the settings allow.

    Args:
        schema: Description of the API, changed in place.
        settings: Settings of the process.
    """
    for operations in schema["paths"].values():
        for method, operation in operations.items():
            if method != "post":
                continue
            kept = {item["name"]: item["schema"] for item in operation["parameters"]}
            _narrow(kept, settings)
            operation["parameters"] = [item for item in operation["parameters"] if item["name"] in kept]
            for content in operation["requestBody"]["content"].values():
                _walk(content["schema"], settings)


def _walk(schema: Any, settings: Settings) -> None:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            _narrow(schema["properties"], settings)
        for value in list(schema.values()):
            _walk(value, settings)
    elif isinstance(schema, list):
        for value in schema:
            _walk(value, settings)
    _narrow_url(schema, settings)


def _narrow(properties: dict[str, Any], settings: Settings) -> None:
    if "model" in properties:
        names = [model.name for model in settings.served_models]
        one = properties["model"]
        (one["anyOf"][0] if "anyOf" in one else one)["enum"] = names
    if not settings.output_prefixes:
        properties.pop("output_url", None)


def _narrow_url(schema: Any, settings: Settings) -> None:
    if not isinstance(schema, dict) or schema.get("format") != "uri":
        return
    web = "https?" if settings.fetch_http else "https"
    takes_buckets = "s3" in schema["pattern"] and settings.input_prefixes
    schema["pattern"] = f"^({web}|s3|gs|az)://" if takes_buckets else f"^{web}://"
