"""PSNR by hand, and a row of figures per case."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from model.evaluate.cases import list_cases
from model.evaluate.restoration import measure, psnr, read_photo
from model.pipeline import Restorer
from tests.unit.model.samples import photo, write_jpeg


def test_equal_photos_are_capped() -> None:
    assert psnr(photo(), photo()) == pytest.approx(100)


@pytest.mark.parametrize(("error", "expected"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0)])
def test_constant_errors(error: float, expected: float) -> None:
    assert psnr(torch.zeros(1, 3, 8, 8) + error, torch.zeros(1, 3, 8, 8)) == pytest.approx(expected, abs=1e-4)


def test_sigma_of_the_literature() -> None:
    noise = 25 / 255 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert psnr(noise, torch.zeros_like(noise)) == pytest.approx(20.17, abs=0.05)


def test_inside_a_mask_only() -> None:
    clean, mask = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :2, :2] = 1
    estimate = clean + 0.1
    estimate[..., :2, :2] = 0.01
    assert psnr(estimate, clean, mask) == pytest.approx(40, abs=1e-3)
    assert psnr(estimate, clean, 1 - mask) == pytest.approx(20, abs=1e-3)


def test_photos_are_read_as_they_are(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4), (255, 51, 0)).save(tmp_path / "a.png")
    image = read_photo(tmp_path / "a.png")
    assert image.shape == (1, 3, 4, 5)
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([1.0, 0.2, 0.0]))


@pytest.mark.parametrize("give_mask", [True, False])
def test_one_row_per_case(restorer: Restorer, tmp_path: Path, give_mask: bool) -> None:
    paths = [write_jpeg(tmp_path / f"{index}.jpg", 64, 80, index) for index in range(3)]
    cases = [
        case
        for suite in ("ten", "clean")
        for case in list_cases(suite)
        if case.name.split()[0] in ("noise", "inpainting", "clean")
    ]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rows = list(measure(restorer, paths, cases, 1, give_mask=give_mask, pictures=pictures))
    assert [row.case for row in rows] == ["noise 0.5", "inpainting 0.5", "clean"]
    for row in rows:
        assert row.photos == 3
        assert row.steps == 1
        assert 0 < row.psnr_after < 100
        assert row.seconds > 0
    assert rows[2].psnr_before == pytest.approx(100)
    assert len(list(pictures.iterdir())) == 6
    with Image.open(pictures / "noise_0.5_0.jpg") as image:
        assert image.size == (3 * 80, 64)


def test_identity_measures_as_its_input(restorer: Restorer, tmp_path: Path) -> None:
    still = Restorer.random(restorer.config)
    for value in still.network.backbone.get_submodule("out").parameters():
        value.data.zero_()
    row = next(iter(measure(still, [write_jpeg(tmp_path / "a.jpg")], list_cases("jpeg"), 1)))
    assert row.psnr_after == pytest.approx(row.psnr_before, abs=0.1)
