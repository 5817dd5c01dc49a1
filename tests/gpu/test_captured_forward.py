"""Captured graphs on a real GPU: they give what the network itself gives, for every batch size and again and again."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.config import load_config
from model.diffusion.context import Context
from model.errors import NonFiniteError
from model.forward import TileForward
from model.pipeline import Restorer
from tests.unit.model.test_forward import random_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_replayed_graphs_give_what_the_network_gives() -> None:
    restorer = Restorer.random(load_config("tiny"), device="cuda")
    eager = TileForward(restorer.network, restorer.device, graphs=False)
    for size, seed in ((2, 0), (4, 1), (2, 2), (8, 3), (4, 4)):
        batch = random_batch(restorer, size, seed)
        torch.testing.assert_close(restorer.forward(batch), eager(batch), rtol=0, atol=1 / 255)


def test_graphs_come_back_after_their_memory_was_given_back() -> None:
    restorer = Restorer.random(load_config("tiny"), device="cuda")
    batch = random_batch(restorer, 2, 0)
    first = restorer.forward(batch).clone()
    restorer.forward.forget_graphs()
    torch.testing.assert_close(restorer.forward(batch), first, rtol=0, atol=1 / 255)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_graphs_are_captured_on_the_device_of_the_model_whatever_the_current_one() -> None:
    restorer = Restorer.random(load_config("tiny"), device="cuda:1")
    eager = TileForward(restorer.network, restorer.device, graphs=False)
    with torch.cuda.device(0):
        for size in (2, 4):
            batch = random_batch(restorer, size, size)
            result = restorer.forward(batch)
            assert result.device.index == 1
            torch.testing.assert_close(result, eager(batch), rtol=0, atol=1 / 255)


def test_whole_photo_steps_in_large_strips_give_what_small_ones_give() -> None:
    here, there = (Restorer.random(load_config("tiny"), device=device) for device in ("cpu", "cuda"))
    image = torch.rand(1, 3, 100, 120, generator=torch.Generator().manual_seed(0))
    analysis = here.analyze(image)
    context = Context(*(tensor.cuda() for tensor in (analysis.context.tokens, analysis.context.embedding)))
    states = [
        here.begin(image.clone(), analysis, steps=3, seed=5),
        there.begin(image.clone(), dataclasses.replace(analysis, context=context), steps=3, seed=5),
    ]
    torch.testing.assert_close(states[1].noisy.cpu(), states[0].noisy, rtol=0, atol=1e-5)
    for restorer, state in zip((here, there), states, strict=True):
        state.estimate.copy_(state.degraded * state.weight_sums[0][:, None] * state.weight_sums[1])
        state.missing.clear()
        restorer.finish_step(state)
    torch.testing.assert_close(states[1].noisy.cpu(), states[0].noisy, rtol=0, atol=1e-5)


def test_forwards_that_do_not_wait_give_the_pictures_of_those_that_do() -> None:
    restorer = Restorer.random(load_config("tiny"), device="cuda")
    assert restorer.checks_later
    image = torch.rand(1, 3, 150, 200, generator=torch.Generator().manual_seed(0))
    analysis = restorer.analyze(image)
    found = restorer.restore(image.clone(), steps=3, analysis=analysis).image
    restorer.checks_later = False
    expected = restorer.restore(image.clone(), steps=3, analysis=analysis).image
    torch.testing.assert_close(found, expected, rtol=0, atol=1 / 255)


def test_nan_is_found_at_the_end_of_the_step() -> None:
    restorer = Restorer.random(load_config("tiny"), device="cuda")
    restorer.network.backbone.get_parameter("out.bias").data[0] = torch.nan
    image = torch.rand(1, 3, 64, 64)
    state = restorer.begin(image, restorer.analyze(image), steps=1)
    restorer.forward_tiles([(state, 0)])
    with pytest.raises(NonFiniteError):
        restorer.finish_step(state)
    assert state.missing == {0}
