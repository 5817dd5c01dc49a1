from __future__ import annotations

import pytest
import torch

from model.config import load_config
from model.diffusion.sample_inputs import draw_inputs
from model.pipeline import Restorer


def test_the_network_takes_them_and_they_have_the_shape_of_real_ones() -> None:
    restorer = Restorer.random(load_config("tiny"))
    inputs = draw_inputs(restorer.config, 3, restorer.device)
    side = restorer.tile_px
    with torch.inference_mode():
        assert restorer.network(*inputs).shape == (3, 3, side, side)
    real = restorer.analyze(torch.rand(1, 3, side, side)).context
    assert inputs.context.tokens.shape[1:] == real.tokens.shape[1:]
    assert inputs.context.embedding.shape[1:] == real.embedding.shape[1:]


def test_they_repeat_for_one_seed_and_differ_for_another() -> None:
    config, device = load_config("tiny"), torch.device("cpu")
    first, again, other = (draw_inputs(config, 2, device, seed) for seed in (1, 1, 2))
    assert torch.equal(first.noisy, again.noisy)
    assert torch.equal(first.context.tokens, again.context.tokens)
    assert not torch.equal(first.noisy, other.noisy)


def test_no_tiles_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        draw_inputs(load_config("tiny"), 0, torch.device("cpu"))
