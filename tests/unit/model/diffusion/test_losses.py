"""Losses stay finite at perfection, and weigh a bright error as a dark one."""

from __future__ import annotations

import math

import pytest
import torch

from model.diffusion.losses import gradient_error, log_mean_squared_error
from tests.unit.model.samples import photo

CLEAN = torch.cat([photo(16, 16, 0), photo(16, 16, 1)])


def test_equal_images_have_a_finite_loss_and_gradient() -> None:
    estimate = CLEAN.clone().requires_grad_()
    loss = log_mean_squared_error(estimate, CLEAN) + gradient_error(estimate, CLEAN)
    torch.autograd.backward(loss)
    assert bool(torch.isfinite(loss))
    assert float(log_mean_squared_error(CLEAN, CLEAN, floor=1e-5)) == pytest.approx(math.log(1e-5))
    assert estimate.grad is not None
    assert bool(torch.isfinite(estimate.grad).all())


def test_log_error_by_hand() -> None:
    loss = log_mean_squared_error(CLEAN + 0.1, CLEAN, floor=0.0)
    assert float(loss) == pytest.approx(math.log(0.01), rel=1e-4)


def test_every_image_counts_the_same() -> None:
    error = torch.tensor([0.1, 0.001]).view(2, 1, 1, 1)
    loss = log_mean_squared_error(CLEAN + error, CLEAN, floor=0.0)
    assert float(loss) == pytest.approx((math.log(1e-2) + math.log(1e-6)) / 2, rel=1e-3)


def test_a_brighter_image_has_no_gradient_error_but_a_noisy_one_has() -> None:
    assert float(gradient_error(CLEAN + 0.2, CLEAN)) == pytest.approx(0.0, abs=1e-6)
    step = torch.zeros_like(CLEAN)
    step[..., 8:] = 1.0  # one vertical edge: one of 15 horizontal differences
    assert float(gradient_error(CLEAN + step, CLEAN)) == pytest.approx(1 / 15, rel=1e-4)


def test_half_precision_estimates_are_compared_in_full() -> None:
    loss = log_mean_squared_error(CLEAN.half(), CLEAN)
    assert loss.dtype == torch.float32
    assert bool(torch.isfinite(loss))
