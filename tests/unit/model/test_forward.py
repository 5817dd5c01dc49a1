"""The network on one batch of tiles."""

from __future__ import annotations

import torch

from model.config import load_config
from model.diffusion.context import Context
from model.forward import TileBatch, TileForward
from model.pipeline import Restorer


def random_batch(restorer: Restorer, size: int, seed: int) -> TileBatch:
    """Random tiles on the restorer's device."""
    generator, sizes = torch.Generator().manual_seed(seed), restorer.config.network
    count, px = 2 * sizes.tokens_per_embedding + sizes.visual_pool**2, restorer.tile_px
    tensors = (
        torch.rand(size, 3, px, px, generator=generator),
        torch.rand(size, 3, px, px, generator=generator),
        (torch.rand(size, 1, px, px, generator=generator) > 0.9).float(),
        torch.randint(1, restorer.config.diffusion.timesteps + 1, (size,), generator=generator),
        torch.randn(size, count, sizes.context_dim, generator=generator),
        torch.randn(size, sizes.time_dim, generator=generator),
    )
    return TileBatch(*(tensor.to(restorer.device) for tensor in tensors))


def test_gives_what_the_network_gives() -> None:
    restorer = Restorer.random(load_config("tiny"))
    batch = random_batch(restorer, 4, 0)
    with torch.inference_mode():
        expected = restorer.network(
            batch.noisy, batch.degraded, batch.mask, batch.times, Context(batch.tokens, batch.embedding)
        )
    assert torch.equal(restorer.forward(batch), expected)


def test_every_input_counts() -> None:
    restorer = Restorer.random(load_config("tiny"))
    forward = TileForward(restorer.network, restorer.device)
    one, other = random_batch(restorer, 2, 0), random_batch(restorer, 2, 1)
    base = forward(one)
    for index in range(len(one.tensors)):
        changed = list(one.tensors)
        changed[index] = other.tensors[index]
        assert not torch.equal(forward(TileBatch(*changed)), base), index


def test_batches_of_one_size_share_a_graph_and_others_do_not() -> None:
    restorer = Restorer.random(load_config("tiny"))
    assert random_batch(restorer, 2, 0).shapes == random_batch(restorer, 2, 1).shapes
    assert random_batch(restorer, 2, 0).shapes != random_batch(restorer, 4, 0).shapes
