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
        text: Comma-separated; each part is NAME=PLACE, or a place alone, whose last part is then its name.

    Raises:
        ValueError: A part gives no name, or two models have the same one.
    """
    models = tuple(parse_model(part.strip()) for part in text.split(",") if part.strip())
    names = [model.name for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two models are called {twice[0]!r}; call one of them otherwise: NAME=FOLDER")
    return models


def parse_model(text: str) -> ServedModel:
    """Read one part of a list of models; see `parse_models`.

    Raises:
        ValueError: It gives no name.
    """
    name, mark, place = text.partition("=")
    if mark and place and _NAME.fullmatch(name):
        return ServedModel(name, place)
    last = Path(text).resolve().name if "/" in text or "\\" in text or text.startswith(".") else text
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-")[:64]
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} gives no name for the model; give one: NAME=FOLDER")
    return ServedModel(name, text)


def list_names(models: Iterable[ServedModel]) -> str:
    """Give the names for a message."""
    return ", ".join(model.name for model in models)
