"""Corrections to the generated description, so that it tells what is really sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from app.api.api_examples import add_examples
from app.api.choices import describe_choices
from app.api.error_catalogue import ErrorEntry, catalogue
from app.api.operation_errors import StatusCode, errors_of
from app.api.option_docs import as_text
from app.api.problems import MEDIA_TYPE
from app.settings import Settings

_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
_SAMPLE_ID = "9c1d0f3a2b4c4d5e8f60718293a4b5c6"
_RETRY_AFTER = {
    "description": "Seconds after which to try again, where that makes sense.",
    "schema": {"type": "integer", "minimum": 1},
}


def complete_description(app: FastAPI, settings: Settings) -> None:
    """Make the description of an app tell every error of every operation, and nothing that is never sent or taken.

    Args:
        app: The app.
        settings: What it takes: which models, and photos from where.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        schema = generate()
        if is_new:
            _correct(schema)
            describe_choices(schema, settings)
            add_examples(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents


def _correct(schema: dict[str, Any]) -> None:
    entries = {entry.code: entry for entry in catalogue()}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = as_text(parameter["schema"])
            responses: dict[str, Any] = operation["responses"]
            kept = {status: response for status, response in responses.items() if int(status) < 400}
            said = {status: response.get("description") for status, response in responses.items() if int(status) >= 400}
            operation["responses"] = kept | {
                str(status): _describe(path, status, errors_of(name), entries, said.get(str(status)))
                for status in sorted({item.status for item in errors_of(name)})
            }
    for operations in schema.get("webhooks", {}).values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # those are the receiver's own answers
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "API key, `vlmir_...`, where keys are needed."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in another header."},
    }
    schema["security"] = [{"bearer": []}, {"apiKey": []}, {}]
    for framework in _FRAMEWORK_SCHEMAS:
        schema["components"]["schemas"].pop(framework, None)


def _describe(
    path: str, status: int, codes: tuple[StatusCode, ...], entries: dict[str, ErrorEntry], said: str | None
) -> dict[str, Any]:
    """Describe the answer of one status: which codes it may have, with an example of each."""
    own = [entries[item.code] for item in codes if item.status == status]
    is_passing = status in (409, 429, 503)
    return {
        "description": said or " ".join(f"{entry.title}." for entry in own),
        **({"headers": {"Retry-After": _RETRY_AFTER}} if is_passing else {}),
        "content": {
            MEDIA_TYPE: {
                "schema": _PROBLEM_REF,
                "examples": {
                    entry.code: {"summary": entry.title, "value": _sample(path, status, entry)} for entry in own
                },
            }
        },
    }


def _sample(path: str, status: int, entry: ErrorEntry) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if entry.code == "invalid_option":
        more["errors"] = [{"field": "steps", "message": "Input should be less than or equal to 100; got '101'"}]
    if entry.code == "job_failed":
        more["error_code"] = "deadline_exceeded" if status == HTTPStatus.GATEWAY_TIMEOUT else "restoration_failed"
    if entry.code == "result_not_ready":
        more["state"] = "running"
    if entry.code in ("unknown_model", "not_acceptable"):
        more["available"] = ["small"] if entry.code == "unknown_model" else ["image/jpeg"]
    if entry.code == "not_ready":
        more["reasons"] = ["No worker has given a sign of life; start one with `vlmir worker`."]
    return {
        "type": f"/errors#{entry.code}",
        "title": entry.title,
        "status": status,
        "detail": entry.when.replace("`", ""),
        "instance": path.replace("{job_id}", _SAMPLE_ID).replace("{batch_id}", _SAMPLE_ID),
        "code": entry.code,
        "retryable": entry.retryable == "yes",
        "request_id": _SAMPLE_ID,
        **more,
    }
