"""The options of requests in the API's description: as parameters, as a form, as members of a JSON object."""

from __future__ import annotations

from typing import Any

from app.api.options import RestoreParameters
from app.api.webhook_options import openapi_events
from app.jobs.job import KINDS

FILE = {"type": "string", "format": "binary", "contentMediaType": "image/*"}
_EVENTS_NEED_URL: dict[str, Any] = {
    "dependentSchemas": {
        "webhook_events": {"required": ["webhook"], "properties": {"webhook": {"type": "string", "minLength": 1}}}
    }
}
# In quotes, where quotes and backslashes have a backslash before them, or bare without blanks; see `read_key`.
_KEY_PATTERN = r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--:<-\[\]-~]{1,255})$'
_EXAMPLES: dict[str, Any] = {
    "quality": "best",
    "steps": 4,
    "seed": 7,
    "caption": "a dog on a beach",
    "format": "png",
    "photo_metadata": "strip-gps",
    "quality_factor": 90,
    "kinds": "rain,noise",
    "priority": "batch",
    "metadata": '{"order": 7351}',
    "start_within": 60,
    "finish_within": 600,
}


def as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an option where values are text: not given is left out there, `null` would be the word."""
    kept = {name: value for name, value in schema.items() if not (name == "default" and value is None)}
    choices = [choice for choice in kept.pop("anyOf", ()) if choice != {"type": "null"}]
    return {**kept, **choices[0]} if len(choices) == 1 else kept | ({"anyOf": choices} if choices else {})


def _or_empty(schema: dict[str, Any]) -> dict[str, Any]:
    """Let a field be empty too, which counts as not given."""
    said = {name: schema[name] for name in ("title", "description", "default") if name in schema}
    return said | {"anyOf": [{name: value for name, value in schema.items() if name not in said}, {"const": ""}]}


def _text_options() -> dict[str, dict[str, Any]]:
    properties = RestoreParameters.model_json_schema()["properties"]
    options = {name: as_text(schema) for name, schema in properties.items()}
    # The word is ours; what counts is that it is the text of an object.
    options["metadata"] |= {"format": "json-object", "contentSchema": {"type": "object"}}
    return options


def openapi_parameters() -> list[dict[str, Any]]:
    """Describe the options as query parameters for the API's documentation."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "allowEmptyValue": True,  # counts as not given
            "description": schema.pop("description", ""),
            "schema": schema,
            **({"example": _EXAMPLES[name]} if name in _EXAMPLES else {}),
        }
        for name, schema in _text_options().items()
    ]


def openapi_headers() -> list[dict[str, Any]]:
    """Describe the headers of a submission for the API's documentation."""
    return [
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "description": "`wait=N`: answer with the restored photo itself if it is ready within N seconds.",
            "schema": {"type": "string"},
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same key and the same request again give the same job.",
            "schema": {"type": "string", "pattern": _KEY_PATTERN},
        },
    ]


def openapi_form() -> dict[str, Any]:
    """Describe the multipart form for the API's documentation."""
    return {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        **_EVENTS_NEED_URL,
        "properties": {
            "image": {**FILE, "description": "The photo."},
            "mask": {**FILE, "description": "Image of the same size: white where the photo is missing."},
            **{name: _or_empty(schema) for name, schema in _text_options().items()},
        },
    }


def openapi_object() -> dict[str, Any]:
    """Describe the JSON object with a photo's URL for the API's documentation."""
    properties = RestoreParameters.model_json_schema()["properties"]
    url = {"type": "string", "format": "uri", "pattern": "^(https?|s3|gs|az)://", "maxLength": 2048}
    properties["metadata"] |= {"type": "object", "anyOf": [{"type": "object"}, {"type": "null"}]}
    kinds = {"type": "array", "items": {"type": "string", "enum": list(KINDS)}}
    properties["kinds"]["anyOf"] = [kinds, *properties["kinds"]["anyOf"]]
    properties["webhook_events"]["anyOf"] = [openapi_events(), *properties["webhook_events"]["anyOf"]]
    del properties["metadata"]["type"]
    return {
        "type": "object",
        "required": ["image_url"],
        **_EVENTS_NEED_URL,
        "additionalProperties": False,
        "properties": {
            "image_url": {**url, "description": "Where the photo is: https at a public address, or an allowed bucket."},
            "mask_url": {**url, "description": "Image of the same size: white where the photo is missing."},
            **properties,
        },
    }
