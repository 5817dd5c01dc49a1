"""The description of the API is whole: it is valid, has an example of everything, and tells what this service takes."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from app.api.api_examples import BODIES, RESPONSES
from app.api.app import create_app
from app.settings import Settings

NO_BODY = ("204", "304", "307")


def describe(**settings: Any) -> dict[str, Any]:
    return create_app(Settings(redis_url="redis://127.0.0.1:1", **settings)).openapi()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return describe()


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }


def check(schema: dict[str, Any], part: dict[str, Any], value: Any) -> None:
    """Fails when a value does not fit a part of the description."""
    jsonschema_rs.validator_for(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": schema["components"], **part},
        validate_formats=True,
    ).validate(value)


def test_it_is_openapi_3_1_with_words_for_every_operation(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    names = operations(schema)
    assert len({operation["operationId"] for operation in names.values()}) == len(names)
    for name, operation in names.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        for parameter in operation.get("parameters", ()):
            assert parameter["in"] == "path" or parameter["description"], (name, parameter["name"])


def test_every_answer_and_every_json_body_has_an_example_that_fits(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema).items():
        for status, response in operation["responses"].items():
            if status in NO_BODY or name.startswith("HEAD"):
                continue
            for media_type, content in response.get("content", {}).items():
                if media_type.startswith("image/") or status == "206" or not content.get("schema"):
                    continue
                examples = [example["value"] for example in content.get("examples", {}).values()]
                examples += [content["example"]] if "example" in content else []
                assert examples, f"{name} {status} has no example; add one to app/api/api_examples.py"
                for example in examples:
                    check(schema, content["schema"], example)
        if "requestBody" in operation:
            body = operation["requestBody"]["content"]["application/json"]
            check(schema, body["schema"], body["example"])
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                check(schema, parameter["schema"], parameter["example"])
    assert set(RESPONSES) | set(BODIES) <= set(operations(schema))


def test_it_tells_the_models_and_places_of_this_service() -> None:
    plain = describe(models="small,night=/models/night")
    restore = plain["paths"]["/restore"]["post"]
    parameters = {item["name"]: item["schema"] for item in restore["parameters"]}
    assert parameters["model"]["enum"] == ["small", "night"]
    assert "output_url" not in parameters
    members = restore["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert members["image_url"]["pattern"] == "^https://"
    assert members["model"]["anyOf"][0]["enum"] == ["small", "night"]
    open_ = describe(input_prefixes="s3://photos/in/", output_prefixes="s3://photos/out/", fetch_http=True)
    members = open_["paths"]["/restore"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert members["image_url"]["pattern"] == "^(https?|s3|gs|az)://"
    assert "output_url" in members


def test_text_options_have_no_null(schema: dict[str, Any]) -> None:
    for name in ("/restore", "/analyze"):
        operation = schema["paths"][name]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        for option in (*form.values(), *(item["schema"] for item in operation["parameters"])):
            assert {"type": "null"} not in option.get("anyOf", [])
