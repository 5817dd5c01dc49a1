"""Small data and small constants for training the tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

import model.train.predictor
from model.train.photos import Photo, load_photos
from tests.unit.model.samples import write_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of eight captioned JPEGs of 80 px and more."""
    return write_data(tmp_path / "data", 8, 80)


@pytest.fixture
def photos(data: Path) -> list[Photo]:
    """The photos of that folder."""
    return load_photos([data])


@pytest.fixture
def small_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The predictor looks at regions of 40 and 72 px, which takes a tenth of the time."""
    monkeypatch.setattr(model.train.predictor, "REGION_PX", (40, 72))
