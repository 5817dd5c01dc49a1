"""The noise of a pixel depends on seed, step and position, and on nothing else."""

from __future__ import annotations

import pytest
import torch

from model.diffusion.noise import pixel_noise

WHOLE = pixel_noise(7, 0, range(200), 300)


@pytest.mark.parametrize("rows", [range(1), range(13, 77), range(199, 200)])
def test_strips_are_rows_of_the_whole(rows: range) -> None:
    assert torch.equal(pixel_noise(7, 0, rows, 300), WHOLE[:, rows.start : rows.stop])


def test_narrower_photos_see_the_same_noise() -> None:
    assert torch.equal(pixel_noise(7, 0, range(200), 100), WHOLE[:, :, :100])


def test_no_rows_give_no_noise() -> None:
    assert pixel_noise(7, 0, range(5, 5), 300).shape == (3, 0, 300)


def test_noise_is_standard_normal() -> None:
    values = pixel_noise(3, 1, range(400), 400)
    assert values.dtype == torch.float32
    assert values.mean().abs() < 0.01
    assert (values.std() - 1).abs() < 0.01
    assert ((values**3).mean()).abs() < 0.03
    assert ((values**4).mean() - 3).abs() < 0.06
    assert bool(torch.isfinite(values).all())


@pytest.mark.parametrize(("down", "right"), [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 8), (8, 0), (3, 5)])
def test_neighbours_know_nothing_of_each_other(down: int, right: int) -> None:
    # 600 000 products of standard normals: a mean beyond 0.008 has a chance below 1e-9
    values = pixel_noise(11, 0, range(450), 450)
    product = values[:, down:, right:] * values[:, : 450 - down, : 450 - right]
    assert product.mean().abs() < 0.008


def test_channels_know_nothing_of_each_other() -> None:
    values = pixel_noise(11, 0, range(450), 450).flatten(1)
    correlation = torch.corrcoef(values)
    assert (correlation - torch.eye(3)).abs().max() < 0.015


@pytest.mark.parametrize("other", [(8, 0), (7, 1), (7 + 2**32, 0), (2**63 - 1, 0), (1, 6)])
def test_other_seeds_and_steps_give_unrelated_noise(other: tuple[int, int]) -> None:
    values = pixel_noise(*other, range(200), 300)
    assert (values * WHOLE).mean().abs() < 0.015


def test_the_same_noise_again() -> None:
    assert torch.equal(pixel_noise(7, 0, range(200), 300), WHOLE)


def test_a_device_without_float64_gets_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[str] = []

    def place(tensor: torch.Tensor, device: str) -> torch.Tensor:
        placed.append(device)
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", place)
    assert torch.equal(pixel_noise(7, 0, range(200), 300, "mps"), WHOLE)
    assert placed == ["mps"]
