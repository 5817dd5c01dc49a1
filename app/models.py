"""Which models a service has: the names that jobs call them by, and where each of them lies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ServedModel:
    """One model of a service.

    Attributes:
        name: What jobs call it by.
        place: Name of a shipped model, or a folder with one.
    """

    name: str
    place: str


def parse_models(text: str) -> tuple[ServedModel, ...]:
    """Read a list of models, such as "small,runs/noise,night=/models/low-light".

    Args:
        text: Comma-separated; each part is NAME=PLACE, or a place alone, whose last part is then its name. Empty parts
            are passed over; the empty text gives no models.

    Raises:
        ValueError: A part gives no name or no place, two models have the same name, or there are only empty parts.
    """
    models = tuple(parse_model(part.strip()) for part in text.split(",") if part.strip())
    if text and not models:
        raise ValueError(f"{text!r} lists no model; give names, folders or NAME=FOLDER, or nothing at all")
    names = [model.name for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two models are called {twice[0]!r}; call one of them otherwise: NAME=FOLDER")
    return models


def parse_model(text: str) -> ServedModel:
    """Read one part of a list of models; see `parse_models`.

    A `=` after a path separator belongs to a folder's own name; an earlier one ends the name of the model.

    Raises:
        ValueError: It gives no name or no place.
    """
    name, mark, place = (part.strip() for part in text.partition("="))
    if mark and "/" not in name and "\\" not in name:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{text!r} gives no name for the model: got {name!r} before the `=`, expected 1 to 64 letters, digits, "
                "dots, dashes or underscores; put ./ before a folder with a = in its name"
            )
        if not place:
            raise ValueError(f"{text!r} gives no place for the model {name!r}; give one: NAME=FOLDER")
        return ServedModel(name, place)
    last = Path(text).resolve().name if "/" in text or "\\" in text or text.startswith(".") else text
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-")[:64]
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} gives no name for the model; give one: NAME=FOLDER")
    return ServedModel(name, text)


def list_names(models: Iterable[ServedModel]) -> str:
    """Give the names for a message."""
    return ", ".join(model.name for model in models)
