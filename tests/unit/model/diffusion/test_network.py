"""The restoration network: an identity before training, samples that do not see each other, context that matters."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig, NetworkConfig
from model.diffusion.blocks import ContextAttention, NAFBlock, embed_time
from model.diffusion.context import Context
from model.diffusion.network import RestorationNetwork
from model.pipeline import Restorer, build_network, build_scheduler
from tests.unit.model.samples import context, features, generator, photo

TIMES = torch.tensor([100, 37, 1])


def inputs(batch: int = 3, side: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x_t, LQ and mask."""
    degraded = torch.cat([photo(side, side, seed) for seed in range(batch)])
    noisy = degraded + 0.04 * torch.randn(degraded.shape, generator=generator(9))
    mask = torch.zeros(batch, 1, side, side)
    mask[..., 4:9, 4:9] = 1
    return noisy, degraded, mask


def rows(value: Context, index: slice) -> Context:
    return Context(value.tokens[index], value.embedding[index])


@pytest.fixture(scope="module")
def unet_config(tiny: ModelConfig) -> ModelConfig:
    return dataclasses.replace(
        tiny, network=dataclasses.replace(tiny.network, backbone="unet2d", widths=(16, 32), head_width=8)
    )


@pytest.mark.parametrize("backbone", ["nafnet", "unet2d"])
@torch.inference_mode()
def test_untrained_network_returns_the_damaged_photo(
    tiny: ModelConfig, unet_config: ModelConfig, backbone: str
) -> None:
    config = tiny if backbone == "nafnet" else unet_config
    noisy, degraded, mask = inputs()
    prediction = build_network(config).eval()(noisy, degraded, mask, TIMES, context(config, 3))
    assert torch.equal(prediction, degraded)


@torch.inference_mode()
def test_samples_do_not_see_each_other(restorer: Restorer) -> None:
    network, given = restorer.network, context(restorer.config, 3)
    noisy, degraded, mask = inputs()
    together = network(noisy, degraded, mask, TIMES, given)
    for i in range(3):
        row = slice(i, i + 1)
        alone = network(noisy[row], degraded[row], mask[row], TIMES[row], rows(given, row))
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_every_input_shows_in_the_output(restorer: Restorer) -> None:
    network, given = restorer.network, context(restorer.config, 3)
    noisy, degraded, mask = inputs()
    before = network(noisy, degraded, mask, TIMES, given)
    changed = {
        "x_t": network(noisy + 0.05, degraded, mask, TIMES, given),
        "mask": network(noisy, degraded, 1 - mask, TIMES, given),
        "time": network(noisy, degraded, mask, TIMES.flip(0), given),
        "tokens": network(noisy, degraded, mask, TIMES, Context(given.tokens.flip(0), given.embedding)),
        "embedding": network(noisy, degraded, mask, TIMES, Context(given.tokens, given.embedding.flip(0))),
    }
    for name, after in changed.items():
        assert not torch.equal(after, before), name


@torch.inference_mode()
def test_attention_looks_at_different_tokens_from_different_pixels(tiny: ModelConfig) -> None:
    torch.manual_seed(3)
    attention = ContextAttention(16, tiny.network.context_dim, 8)
    for layer in (attention.attention.to_out[0], attention.attention.to_q, attention.attention.to_k):
        torch.nn.init.normal_(layer.weight, std=0.7)
    x = torch.randn(1, 16, 8, 8, generator=generator())
    tokens = context(tiny, 1, tokens=3).tokens
    other = tokens.clone()
    other[:, 1] += 1.0
    difference = (attention(x, other) - attention(x, tokens))[0].norm(dim=0)
    assert difference.max() > 0.1
    assert difference.std() > 0.05 * difference.mean()  # over a single token the softmax is 1 and this would be 0


@torch.inference_mode()
def test_attention_to_one_token_would_be_a_constant(tiny: ModelConfig) -> None:
    torch.manual_seed(3)
    attention = ContextAttention(16, tiny.network.context_dim, 8)
    torch.nn.init.normal_(attention.attention.to_out[0].weight, std=0.7)
    x = torch.randn(1, 16, 8, 8, generator=generator())
    added = attention(x, context(tiny, 1, tokens=1).tokens) - x
    assert added.flatten(2).std(dim=2).max() < 1e-5


@torch.inference_mode()
def test_context_has_two_tokens_or_more_of_every_kind(restorer: Restorer) -> None:
    config = restorer.config.network
    encoded = restorer.network.encode_context(features(restorer.config, 2))
    assert config.tokens_per_embedding >= 2
    assert config.visual_pool**2 >= 2
    count = 2 * config.tokens_per_embedding + config.visual_pool**2
    assert encoded.tokens.shape == (2, count, config.context_dim)
    assert encoded.embedding.shape == (2, config.time_dim)


def test_film_changes_a_block_once_it_is_trained() -> None:
    torch.manual_seed(0)
    block = NAFBlock(8, 4)
    x, embedding = torch.randn(2, 8, 6, 6, generator=generator()), torch.randn(2, 4, generator=generator())
    assert torch.equal(block(x, embedding), x)  # residual scales start at zero
    for scale in (block.scale1, block.scale2):
        scale.data.fill_(0.5)
    assert torch.equal(block(x, embedding), block(x, 2 * embedding))
    block.film.weight.data.normal_(std=0.5)
    assert not torch.allclose(block(x, embedding), block(x, 2 * embedding))


def test_time_embedding_tells_neighbouring_steps_apart() -> None:
    embedded = embed_time(torch.arange(101) / 100, 16)
    assert embedded.shape == (101, 16)
    assert embedded.abs().max() <= 1
    distance = torch.cdist(embedded, embedded) + 10 * torch.eye(101)
    assert distance.min() > 0.05


@torch.inference_mode()
def test_unet2d_backbone_uses_its_context(unet_config: ModelConfig) -> None:
    torch.manual_seed(0)
    network = build_network(unet_config).eval()
    for parameter in network.parameters():
        if not bool(parameter.any()):
            parameter.data.normal_(0, 0.05)
    given = context(unet_config, 3)
    noisy, degraded, mask = inputs()
    before = network(noisy, degraded, mask, TIMES, given)
    assert before.shape == degraded.shape
    after = network(noisy, degraded, mask, TIMES, Context(given.tokens.flip(0), given.embedding))
    assert not torch.equal(before, after)
    restored = Restorer.random(unet_config).restore(photo(50, 70), steps=1)
    assert restored.image.shape == (1, 3, 50, 70)


def test_every_weight_gets_a_gradient(tiny: ModelConfig) -> None:
    network = Restorer.random(tiny).network.requires_grad_(True)
    noisy, degraded, mask = inputs(2)
    encoded = network.encode_context(features(tiny, 2))
    prediction = network(noisy, degraded, mask, TIMES[:2], encoded)
    torch.autograd.backward(prediction.square().mean())
    without = [name for name, value in network.named_parameters() if value.grad is None or not bool(value.grad.any())]
    assert without == []


@pytest.mark.parametrize("side", [(16, 48), (64, 4)])
@torch.inference_mode()
def test_any_multiple_of_the_factor_is_a_size(restorer: Restorer, side: tuple[int, int]) -> None:
    degraded = photo(*side)
    mask = torch.zeros(1, 1, *side)
    prediction = restorer.network(degraded, degraded, mask, TIMES[:1], context(restorer.config, 1))
    assert prediction.shape == degraded.shape


@torch.inference_mode()
def test_network_survives_saving_the_diffusers_way(restorer: Restorer, tmp_path: Path) -> None:
    restorer.network.save_pretrained(tmp_path)
    again = RestorationNetwork.from_pretrained(tmp_path).eval()
    weights = again.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in restorer.network.state_dict().items())
    given = context(restorer.config, 3)
    # the memory layout is not saved, and it changes the last bits
    torch.testing.assert_close(again(*inputs(), TIMES, given), restorer.network(*inputs(), TIMES, given))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_built_parts_can_be_built_again_from_their_configuration(tiny: ModelConfig) -> None:
    changed = dataclasses.replace(tiny, diffusion=dataclasses.replace(tiny.diffusion, timesteps=50, noise_level=20.0))
    scheduler = build_scheduler(changed)
    again = type(scheduler).from_config(scheduler.config)
    assert torch.equal(again.mean_weights, scheduler.mean_weights)
    assert again.noise_level == scheduler.noise_level
    network = build_network(changed)
    copy = RestorationNetwork.from_config(network.config)
    assert copy.timesteps == 50
    assert {name: value.shape for name, value in copy.state_dict().items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }


@pytest.mark.parametrize(
    "config", [NetworkConfig(), NetworkConfig(widths=(8, 16, 24, 32), blocks=(1,) * 4, decoder_blocks=(1,) * 3)]
)
@torch.inference_mode()
def test_larger_networks_build(config: NetworkConfig) -> None:
    network = RestorationNetwork(network=dataclasses.asdict(config), embed_dim=16, patch_dim=16)
    degraded = photo(32, 32)
    given = Context(torch.zeros(1, 5, config.context_dim), torch.zeros(1, config.time_dim))
    assert torch.equal(network(degraded, degraded, torch.zeros(1, 1, 32, 32), TIMES[:1], given), degraded)
