"""The options of a restoration, from the query, the fields of a form or the members of a JSON object."""

from __future__ import annotations

import json
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.api.json_text import dump_json, nesting_of, parse_json_object
from app.api.problems import ParametersError
from app.api.webhook_options import WebhookEvents, WebhookUrl, make_webhook
from app.errors import InvalidRequestError, UnknownModelError
from app.images import DEFAULT_QUALITY_FACTOR
from app.jobs.job import KINDS, RestoreOptions, parse_kinds
from app.jobs.webhook import Webhook

MAX_SEED = 2**53 - 1  # the largest whole number that every JSON reader keeps exact
MAX_CAPTION_CHARS = 500
MAX_METADATA_BYTES = 4096
MAX_METADATA_LEVELS = 32  # what writes answers stops at 255, and others that read them earlier
MAX_WITHIN_S = 7 * 24 * 3600
_MAY_BE_EMPTY = ("kinds",)
_KINDS_PATTERN = f"^(({'|'.join(KINDS)})(,({'|'.join(KINDS)}))*)?$"


def _clean_text(text: str) -> str:
    """Replace control characters (line breaks too) and halves of characters by spaces, and trim."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Cs") else char for char in text).strip()


def _read_kinds(value: Any) -> Any:
    names = value.split(",") if isinstance(value, str) and value.strip() else value
    if names == "" or (isinstance(names, str) and not names.strip()):
        names = []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PydanticCustomError("kinds", "expected names of kinds, comma-separated")
    try:
        return parse_kinds(names)
    except ValueError as error:
        raise PydanticCustomError("kinds", "{reason}", {"reason": str(error)}) from None


def _read_metadata(value: Any) -> Any:
    try:
        parsed = parse_json_object(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else value
        if not isinstance(parsed, dict):
            raise InvalidRequestError("it is no JSON object")
        size = len(dump_json(parsed))
    except InvalidRequestError as error:
        raise PydanticCustomError("metadata", "{reason}", {"reason": error.detail}) from None
    if size > MAX_METADATA_BYTES:
        reason = f"it has {size:,} bytes as JSON, at most {MAX_METADATA_BYTES:,} are kept"
        raise PydanticCustomError("metadata", "{reason}", {"reason": reason})
    levels = nesting_of(parsed)
    if levels > MAX_METADATA_LEVELS:
        reason = f"it is nested {levels} levels deep, at most {MAX_METADATA_LEVELS} are kept"
        raise PydanticCustomError("metadata", "{reason}", {"reason": reason})
    return parsed


@dataclass(frozen=True)
class Submission:
    """What a request wants to be done with its photo.

    Attributes:
        options: How to restore it.
        priority: "interactive" or "batch".
        metadata: The caller's own object, given back with the job; None without one.
        webhook: Where to tell of its end, or None.
    """

    options: RestoreOptions
    priority: str = "interactive"
    metadata: Mapping[str, Any] | None = None
    webhook: Webhook | None = None


class RestoreParameters(BaseModel):
    """Options of POST /restore. An empty value counts as not given, except that empty `kinds` say nothing is wrong."""

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
    photo_metadata: Literal["keep", "strip", "strip-gps"] | None = Field(
        None,
        description=(
            "What of the photo's own metadata the result has: `keep` (which not given means) EXIF and resolution, "
            "`strip-gps` the same without place and maker's note, `strip` none; the ICC profile always."
        ),
    )
    output_url: str | None = Field(
        None,
        max_length=2048,
        description="Where the result is written too: an object at s3://, gs:// or az://, or a prefix with a slash.",
    )
    quality_factor: int | None = Field(
        None,
        ge=1,
        le=100,
        description=f"How well a JPEG, WebP or AVIF result is kept, not given: {DEFAULT_QUALITY_FACTOR}; PNG and TIFF "
        "lose nothing in any case.",
    )
    model: str | None = Field(
        None, description="Name of a model, one of those at `GET /models`; without it the first of them."
    )
    kinds: (
        Annotated[
            tuple[str, ...], BeforeValidator(_read_kinds), WithJsonSchema({"type": "string", "pattern": _KINDS_PATTERN})
        ]
        | None
    ) = Field(
        None,
        description=(
            "What is wrong with the photo, comma-separated, instead of what the model finds; empty for nothing. One or "
            f"more of {', '.join(KINDS)}."
        ),
    )
    priority: Literal["interactive", "batch"] = Field(
        "interactive", description="Whether somebody waits for it; `batch` gives way to `interactive`."
    )
    metadata: (
        Annotated[
            dict[str, Any],
            BeforeValidator(_read_metadata),
            WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
        ]
        | None
    ) = Field(None, description=f"A JSON object of at most {MAX_METADATA_BYTES} bytes that comes back with the job.")
    webhook: WebhookUrl | None = Field(
        None, description="URL (https, at a public address) that gets a signed POST request when the job has ended."
    )
    webhook_events: WebhookEvents | None = Field(
        None, description="What is told there, comma-separated; without it everything."
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


def parse_submission(query: Iterable[tuple[str, str]], body: Iterable[tuple[str, Any]]) -> Submission:
    """Read what a request asks for.

    Args:
        query: Names and values from the query.
        body: Names and values from the form's text fields, or the members of a JSON object, whose values have types.

    Raises:
        ParametersError: An option is unknown, out of range, or given twice with different values.
    """
    values: dict[str, Any] = {}
    errors: list[dict[str, str]] = []
    for name, value in (*query, *body):
        if value is None or (value == "" and name not in _MAY_BE_EMPTY):
            continue
        if isinstance(value, bool):  # which would count as a number
            errors.append({"field": _shown(name), "message": f"cannot be {json.dumps(value)}"})
        if name in values and _as_text(values[name]) != _as_text(value):
            errors.append({"field": _shown(name), "message": "given twice with different values; give it once"})
        values[name] = value
    try:
        given = RestoreParameters.model_validate(values)
    except ValidationError as error:
        errors += [_explain(dict(item)) for item in error.errors(include_url=False, include_context=True)]
        given = RestoreParameters.model_construct()
    if given.webhook_events is not None and given.webhook is None:
        errors.append({"field": "webhook_events", "message": "says what to tell, but `webhook` does not say where"})
    if errors:
        raise ParametersError(errors)
    options = RestoreOptions(
        quality=given.quality,
        steps=given.steps,
        seed=given.seed,
        caption=given.caption or None,
        format=given.format,
        model=given.model,
        start_within_s=given.start_within,
        finish_within_s=given.finish_within,
        kinds=given.kinds,
        photo_metadata=given.photo_metadata,
        quality_factor=given.quality_factor,
        output_url=given.output_url,
    )
    webhook = make_webhook(given.webhook, given.webhook_events)
    return Submission(options, given.priority, given.metadata, webhook)


def _as_text(value: Any) -> str:
    """Give a value as a query would have it, to tell whether two are the same."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


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
    got = item["input"] if isinstance(item["input"], str) else reprlib.repr(item["input"])  # which goes not too deep
    return {"field": field, "message": f"{item['msg']}; got {got[:64]!r}"}


def _shown(name: str) -> str:
    """Give a name as it may go into an answer: short, and without halves of characters."""
    return name[:64].encode("utf-8", "replace").decode()
