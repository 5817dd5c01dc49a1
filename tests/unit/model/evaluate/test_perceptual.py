"""LPIPS and FID: absent without a download, present with a backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torchvision

from model.evaluate.perceptual import FID_FILE, LPIPS_FILES, Perceptual, frechet_distance
from tests.unit.model.samples import generator, photo


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_missing_backbones_are_named_with_their_place(checkpoints: Path) -> None:
    perceptual = Perceptual()
    assert set(perceptual.missing) == {"LPIPS", "FID"}
    assert LPIPS_FILES["alex"] in perceptual.missing["LPIPS"]
    assert FID_FILE in perceptual.missing["FID"]
    assert all(str(checkpoints) in reason for reason in perceptual.missing.values())
    assert perceptual.score(photo(), photo()) == {}
    assert not perceptual.has_fid
    assert list(checkpoints.iterdir()) == []


def test_lpips_with_a_backbone(checkpoints: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), checkpoints / LPIPS_FILES["squeeze"])
    perceptual = Perceptual()
    assert perceptual.backbone == "squeeze"
    assert set(perceptual.missing) == {"FID"}
    clean = photo(64, 64)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=generator())
    assert perceptual.score(clean, clean)["lpips"] == pytest.approx(0, abs=1e-6)
    assert perceptual.score(noisy, clean)["lpips"] > 1e-4


def test_files_that_are_no_weights_are_not_loaded(checkpoints: Path) -> None:
    for name in (LPIPS_FILES["alex"], FID_FILE):
        (checkpoints / name).write_bytes(b"<html>not found</html>")
    missing = Perceptual().missing
    assert all("is no file of weights" in missing[name] for name in ("LPIPS", "FID"))


def test_frechet_distance_is_that_of_the_formula() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(40, 5)), draw.normal(size=(30, 5)) * [1, 2, 3, 1, 0.5] + 1
    covariances = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(list(a), list(b)) == pytest.approx(expected)
    assert frechet_distance(list(a), list(a)) == pytest.approx(0, abs=1e-9)


def test_one_photo_has_no_distribution() -> None:
    with pytest.raises(ValueError, match="expected two or more"):
        frechet_distance([np.zeros(3)], [np.zeros(3), np.ones(3)])
