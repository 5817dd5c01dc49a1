"""Guidance features become tokens: captions only where there are any, rows of a batch kept apart."""

from __future__ import annotations

import dataclasses

import torch

from model.config import ModelConfig
from model.diffusion.context import ContextEncoder
from tests.unit.model.samples import features


def encoder(config: ModelConfig) -> ContextEncoder:
    torch.manual_seed(0)
    return ContextEncoder(config.network, config.vlm.embed_dim, config.vlm.width, 10)


@torch.inference_mode()
def test_without_a_caption_its_embedding_does_not_matter(tiny: ModelConfig) -> None:
    given = features(tiny, 2)  # the second photo has no caption
    other = dataclasses.replace(given, caption=given.caption + 1.0)
    first, second = encoder(tiny)(given).tokens, encoder(tiny)(other).tokens
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@torch.inference_mode()
def test_missing_caption_is_a_learned_one_not_nothing(tiny: ModelConfig) -> None:
    count = tiny.network.tokens_per_embedding
    module = encoder(tiny)
    before = module(features(tiny, 2)).tokens
    module.null_caption.data += 1.0 + torch.arange(module.dim)
    after = module(features(tiny, 2)).tokens
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1, -count:], after[1, -count:])
    assert torch.equal(before[1, :-count], after[1, :-count])


@torch.inference_mode()
def test_degradation_and_severities_reach_the_embedding_only(tiny: ModelConfig) -> None:
    given = features(tiny, 2)
    before = encoder(tiny)(given)
    for name in ("degradation", "severities"):
        after = encoder(tiny)(dataclasses.replace(given, **{name: getattr(given, name) * 0.5}))
        assert torch.equal(before.tokens, after.tokens)
        assert not torch.equal(before.embedding, after.embedding)


@torch.inference_mode()
def test_rows_are_independent_and_can_be_selected(tiny: ModelConfig) -> None:
    given = features(tiny, 4)
    rows = torch.tensor([3, 1])
    chosen = encoder(tiny)(given.select(rows))
    whole = encoder(tiny)(given)
    torch.testing.assert_close(chosen.tokens, whole.tokens[rows], rtol=0, atol=1e-6)
    torch.testing.assert_close(chosen.embedding, whole.embedding[rows], rtol=0, atol=1e-6)


@torch.inference_mode()
def test_tokens_of_one_photo_differ_from_each_other(tiny: ModelConfig) -> None:
    tokens = encoder(tiny)(features(tiny, 1)).tokens[0]
    distance = torch.cdist(tokens, tokens) + 10 * torch.eye(len(tokens))
    assert distance.min() > 0.1
