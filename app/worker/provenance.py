"""What the file of a result tells about its restoration, and how it is written as asked for."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from app.images import EncodeOptions, Setting

if TYPE_CHECKING:
    from app.jobs.job import RestoreOptions


def encode_options(options: RestoreOptions, model: str, steps: int) -> EncodeOptions:
    """Give how a restored photo is written.

    Args:
        options: What the caller asked for; what is not given there is left to `EncodeOptions`.
        model: Name of the model that restored it, without a path.
        steps: Steps that were taken.
    """
    given: dict[str, str | int | None] = {
        "quality_factor": options.quality_factor,
        "metadata": options.photo_metadata,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return EncodeOptions(**chosen, settings=settings_used(options, model, steps))  # type: ignore[arg-type]


def settings_used(options: RestoreOptions, model: str, steps: int) -> dict[str, Setting]:
    """Give the settings that made a result, by name; None for those that had no part in it.

    Captions are not among them: they are a person's words about a photo, which whoever gets the photo need not read.

    Args:
        options: What the caller asked for.
        model: Name of the model.
        steps: Steps that were taken.
    """
    return {
        "version": _version(),
        "model": model,
        "steps": steps,
        "seed": options.seed,
        "quality": options.quality if options.steps is None else None,  # named steps take its place
        "kinds": None if options.kinds is None else ",".join(options.kinds),
    }


@cache
def _version() -> str:
    try:
        return version("vlmir")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
