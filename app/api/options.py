"""The options of a restoration, from the query, the form fields or both."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from app.api.problems import ParametersError
from app.errors import UnknownModelError
from app.jobs.job import RestoreOptions

MAX_SEED = 2**53 - 1  # the largest whole number that every JSON reader keeps exact
MAX_CAPTION_CHARS = 500
MAX_WITHIN_S = 7 * 24 * 3600


def _clean_text(text: str) -> str:
    """Replace control characters (line breaks too) and halves of characters by spaces, and trim."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Cs") else char for char in text).strip()


class RestoreParameters(BaseModel):
    """Options of POST /restore. An empty value counts as not given."""

    model_config = ConfigDict(extra="forbid")

    quality: Literal["fast", "balanced", "best"] = Field(
        "balanced", description="How much time to spend; sets the number of steps."
    )
    steps: int | None = Field(None, ge=1, le=100, description="Number of diffusion steps; overrides `quality`.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Same photo, options and seed give the same result.")
    caption: Annotated[str, AfterValidator(_clean_text)] | None = Field(
        None, max_length=MAX_CAPTION_CHARS, description="What the photo shows; without it the model writes a caption."
    )
    format: Literal["jpeg", "png", "webp", "avif", "tiff"] | None = Field(
        None, description="Format of the result; without it that of the upload (HEIC gives JPEG, GIF gives PNG)."
    )
    model: str | None = Field(
        None, description="Name of a model, one of those at `GET /models`; without it the first of them."
    )
    start_within: float | None = Field(
        None,
        gt=0,
        le=MAX_WITHIN_S,
        allow_inf_nan=False,
        description="Seconds in which the restoration must begin; a job that does not ends as `deadline_exceeded`.",
    )
    finish_within: float | None = Field(
        None,
        gt=0,
        le=MAX_WITHIN_S,
        allow_inf_nan=False,
        description="Seconds in which the restoration must be done; a job that is not ends as `deadline_exceeded`.",
    )

    @model_validator(mode="after")
    def _check_times(self) -> RestoreParameters:
        start, finish = self.start_within, self.finish_within
        if start is not None and finish is not None and start > finish:
            raise PydanticCustomError(
                "late_start", "start_within is above finish_within; a job must begin before it is done"
            )
        return self


def parse_options(query: Iterable[tuple[str, str]], form: Iterable[tuple[str, str]]) -> RestoreOptions:
    """Read the options of a request.

    Args:
        query: Names and values from the query.
        form: Names and values from the form's text fields.

    Raises:
        ParametersError: An option is unknown, out of range, or given twice with different values.
    """
    values: dict[str, str] = {}
    errors: list[dict[str, str]] = []
    for name, value in (*query, *form):
        if value == "":
            continue
        if name in values and values[name] != value:
            errors.append({"field": _shown(name), "message": "given twice with different values; give it once"})
        values[name] = value
    try:
        given = RestoreParameters.model_validate(values)
    except ValidationError as error:
        errors += [_explain(dict(item)) for item in error.errors(include_url=False, include_context=True)]
        given = RestoreParameters.model_construct()
    if errors:
        raise ParametersError(errors)
    return RestoreOptions(
        quality=given.quality,
        steps=given.steps,
        seed=given.seed,
        caption=given.caption or None,
        format=given.format,
        model=given.model,
        start_within_s=given.start_within,
        finish_within_s=given.finish_within,
    )


def check_model(name: str | None, available: tuple[str, ...]) -> None:
    """Refuse a model that the service does not have.

    Args:
        name: What the request named, or None.
        available: Names of the models of the service.

    Raises:
        UnknownModelError: It does not have this one.
    """
    if name is not None and name not in available:
        raise UnknownModelError(
            f"There is no model {_shown(name)!r}; there are {', '.join(available)}.", available=available
        )


def _explain(item: dict[str, Any]) -> dict[str, str]:
    if item["type"] == "late_start":  # about two options together
        return {"field": "start_within", "message": item["msg"]}
    field = _shown(".".join(str(part) for part in item["loc"]))
    if item["type"] == "extra_forbidden":
        known = ", ".join(RestoreParameters.model_fields)
        return {"field": field, "message": f"is no option; there are {known}"}
    return {"field": field, "message": f"{item['msg']}; got {str(item['input'])[:64]!r}"}


def _shown(name: str) -> str:
    """Give a name as it may go into an answer: short, and without halves of characters."""
    return name[:64].encode("utf-8", "replace").decode()


def openapi_parameters() -> list[dict[str, Any]]:
    """Describe the options as query parameters for the API's documentation."""
    properties = RestoreParameters.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description", ""), "schema": schema}
        for name, schema in properties.items()
    ]


def openapi_form() -> dict[str, Any]:
    """Describe the multipart form for the API's documentation."""
    schema = RestoreParameters.model_json_schema()
    file = {"type": "string", "format": "binary", "contentMediaType": "image/*"}
    return {
        "type": "object",
        "required": ["image"],
        "properties": {
            "image": {**file, "description": "The photo."},
            "mask": {**file, "description": "Image of the same size: white where the photo is missing."},
            **schema["properties"],
        },
    }
