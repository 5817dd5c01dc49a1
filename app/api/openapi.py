"""Corrections to the generated description, so that it tells what is really sent."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from app.api.problems import MEDIA_TYPE

_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")


def describe_errors_as_problems(app: FastAPI) -> None:
    """Make the description of an app name problem documents wherever the framework would describe its own errors."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        schema = generate()
        if is_new:
            _correct(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents


def _correct(schema: dict[str, Any]) -> None:
    for path in schema["paths"].values():
        for operation in path.values():
            responses: dict[str, Any] = operation["responses"]
            for status, response in list(responses.items()):
                content = response.get("content", {})
                reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
                if reference.endswith(_FRAMEWORK_SCHEMAS):
                    del responses[status]  # an id of the wrong form is answered as an unknown one, 404
                elif MEDIA_TYPE in content:
                    response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM_REF}}
            responses["default"] = {
                "description": "Any other error.",
                "content": {MEDIA_TYPE: {"schema": _PROBLEM_REF}},
            }
    for name in _FRAMEWORK_SCHEMAS:
        schema["components"]["schemas"].pop(name, None)
