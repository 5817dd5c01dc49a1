"""Strips of the report: what is on them, how large they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.evaluate.baselines import list_baselines
from model.evaluate.pictures import CROP_PX, STRIP_PHOTOS, WHOLE_PX, PictureBook
from model.evaluate.restoration import ClassicalMethod, Method, ModelMethod
from model.evaluate.samples import Sample
from model.pipeline import Restorer
from tests.unit.model.samples import photo


def flat(value: float, side: int = 32) -> torch.Tensor:
    return torch.full((1, 3, side, side), value)


def test_a_strip_is_before_after_clean(restorer: Restorer, tmp_path: Path) -> None:
    book = PictureBook(tmp_path, "ten")
    book.add("noise 0.5", 0, Sample(flat(0.0), flat(1.0), None, 0), [ModelMethod(restorer, 1)], [flat(0.5)])
    (entry,) = book.entries
    assert entry["labels"] == ["before", "model", "clean"]
    assert (entry["width"], entry["height"]) == (96, 32)
    with Image.open(tmp_path / entry["file"]) as image:
        levels = np.array(image)[16, [16, 48, 80], 0].tolist()
    np.testing.assert_allclose(levels, [0, 128, 255], atol=2)


def test_labels_tell_methods_and_steps_apart(restorer: Restorer, tmp_path: Path) -> None:
    book, sample = PictureBook(tmp_path, "steps"), Sample(flat(0.0), None, None, 0)
    several = [ModelMethod(restorer, 1), ModelMethod(restorer, 8)]
    book.add("a", 0, sample, several, [flat(0.5)] * 2)
    mixed: list[Method] = [ModelMethod(restorer), *map(ClassicalMethod, list_baselines(("blur",)))]
    book.add("b", 0, sample, mixed, [flat(0.5)] * 3)
    assert [entry["labels"] for entry in book.entries] == [
        ["before", "1 step", "8 steps"],
        ["before", "model", "unsharp mask", "Wiener"],
    ]


def test_differences_are_shown_larger(restorer: Restorer, tmp_path: Path) -> None:
    book = PictureBook(tmp_path, "seams", differences=True)
    sample = Sample(flat(0.0), flat(0.5), None, 0)
    book.add("sky", 0, sample, [ModelMethod(restorer, 1)], [flat(0.5 + 4 / 255)])
    assert book.entries[0]["labels"][-1] == "model - clean, x 16"
    with Image.open(tmp_path / book.entries[0]["file"]) as image:
        assert abs(np.array(image)[16, -16, 0] - (127.5 + 64)) < 3


def test_large_photos_are_cropped_or_shrunk(restorer: Restorer, tmp_path: Path) -> None:
    sample = Sample(photo(600, 800), None, None, 0)
    for whole, size in ((False, (2 * CROP_PX, CROP_PX)), (True, (2 * WHOLE_PX, WHOLE_PX * 3 // 4))):
        book = PictureBook(tmp_path, "real", whole)
        book.add("a", 0, sample, [ModelMethod(restorer, 1)], [sample.damaged])
        assert (book.entries[0]["width"], book.entries[0]["height"]) == size


def test_few_photos_and_harmless_file_names(restorer: Restorer, tmp_path: Path) -> None:
    book = PictureBook(tmp_path, "real")
    for index in range(STRIP_PHOTOS + 2):
        book.add("../night & <fog>", index, Sample(flat(0.0), None, None, 0), [ModelMethod(restorer, 1)], [flat(0.5)])
    assert len(book.entries) == STRIP_PHOTOS
    assert all((tmp_path / entry["file"]).parent == tmp_path / "pictures" for entry in book.entries)
    assert len(list((tmp_path / "pictures").iterdir())) == STRIP_PHOTOS
