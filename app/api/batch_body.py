"""Reading what a batch asks for: entries of a JSON object, each with options of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.api.option_docs import openapi_form, openapi_object
from app.api.options import Submission, check_model, parse_submission
from app.api.problems import ParametersError
from app.api.upload import read_reference
from app.errors import InvalidRequestError, UnknownModelError
from app.jobs.batch import BatchEntry

_MOST_ERRORS = 20


def parse_entries(
    body: dict[str, Any], query: Sequence[tuple[str, str]], models: tuple[str, ...], most: int
) -> list[BatchEntry]:
    """Read `{"entries": [URL or {"image_url": ..., options}, ...], "options": {options for all}}`.

    Args:
        body: The JSON object.
        query: Options for all entries too.
        models: Names of the service's models.
        most: Most entries.

    Raises:
        InvalidRequestError: It has another form, or too many entries or none.
        ParametersError: An option of an entry is not valid; its field begins with `entries[N].`.
        UnknownModelError: An entry names a model that there is not.
    """
    entries, shared = body.get("entries"), body.get("options", {})
    strange = sorted(set(body) - {"entries", "options"})
    if strange:
        raise InvalidRequestError(f"The object has a member {strange[0][:64]!r}; it takes `entries` and `options`.")
    if not isinstance(entries, list) or not isinstance(shared, dict):
        raise InvalidRequestError("`entries` must be a list, and `options`, if given, an object.")
    if not 1 <= len(entries) <= most:
        raise InvalidRequestError(f"There are {len(entries)} entries; a batch takes 1 to {most}.")
    parse_shared(query, shared.items(), models)  # so that its faults are told once and not for every entry
    found: list[BatchEntry] = []
    errors: list[dict[str, str]] = []
    for index, entry in enumerate(entries):
        members = {"image_url": entry} if isinstance(entry, str) else entry
        if not isinstance(members, dict):
            raise InvalidRequestError(f"entries[{index}] is neither a URL nor an object with an `image_url`.")
        try:
            upload = read_reference(members)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"entries[{index}]: {error.detail}") from None
        own = {name for name, value in upload.fields if value is not None}
        inherited = [(name, value) for name, value in (*query, *shared.items()) if name not in own]
        try:
            wanted = parse_shared((), (*inherited, *upload.fields), models)
        except ParametersError as error:
            errors += [{**item, "field": f"entries[{index}].{item['field']}"} for item in error.errors]
            if len(errors) >= _MOST_ERRORS:
                break
            continue
        except UnknownModelError as error:
            raise UnknownModelError(f"entries[{index}]: {error.detail}", available=error.available) from None
        image, mask = str(upload.image), upload.mask
        mask_url = None if mask is None else str(mask)
        found.append(BatchEntry(wanted.options, image, mask_url, wanted.metadata, wanted.webhook))
    if errors:
        raise ParametersError(errors[:_MOST_ERRORS])
    return found


def parse_shared(query: Any, fields: Any, models: tuple[str, ...]) -> Submission:
    """Read options as `parse_submission` does; entries of batches have the priority batch.

    Raises:
        ParametersError: An option is not valid, or the priority another one.
        UnknownModelError: There is no such model.
    """
    given = [*query, *fields]
    if any(name == "priority" and value not in ("", None, "batch") for name, value in given):
        raise ParametersError([{"field": "priority", "message": "photos of a batch have the priority batch"}])
    wanted = parse_submission((), given)
    check_model(wanted.options.model, models)
    return Submission(wanted.options, "batch", wanted.metadata, wanted.webhook)


def openapi_batch(most: int) -> dict[str, Any]:
    """Describe the JSON object for the API's documentation."""
    entry = openapi_object()
    entry["properties"]["priority"] = {"const": "batch"}
    shared = {name: schema for name, schema in entry["properties"].items() if name not in ("image_url", "mask_url")}
    url = entry["properties"]["image_url"]
    return {
        "type": "object",
        "required": ["entries"],
        "additionalProperties": False,
        "properties": {
            "entries": {"type": "array", "minItems": 1, "maxItems": most, "items": {"anyOf": [url, entry]}},
            "options": {
                "type": "object",
                "additionalProperties": False,
                "dependentSchemas": entry["dependentSchemas"],
                "properties": shared,
            },
        },
    }


def openapi_batch_form(most: int) -> dict[str, Any]:
    """Describe the multipart form for the API's documentation."""
    form = openapi_form()
    properties = dict(form["properties"])
    del properties["mask"]
    properties["priority"] = {"const": "batch"}
    properties["image"] = {"type": "array", "minItems": 1, "maxItems": most, "items": properties["image"]}
    return form | {"properties": properties}
