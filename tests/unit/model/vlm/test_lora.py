"""Text adapters: nothing before training, something after, and only while they are switched on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import ModelFolder
from model.config import ModelConfig
from model.errors import ConfigError
from model.vlm.captioner import caption_views
from model.vlm.lora import MARK, adapter_parameters, adapters_on, add_text_adapters, encode_adapted_text
from model.vlm.vision_language import VisionLanguageModel
from tests.unit.model.samples import WORDS, photo

TEXTS = ["a dog runs", "red ball", ""]


def build(config: ModelConfig, *, adapters: bool = True) -> VisionLanguageModel:
    torch.manual_seed(0)
    vlm = VisionLanguageModel(config.vlm, WORDS).eval()
    if adapters:
        add_text_adapters(vlm)
    return vlm


def train(vlm: VisionLanguageModel) -> None:
    """What training does to adapters: they are no longer zero."""
    torch.manual_seed(1)
    for value in adapter_parameters(vlm):
        value.data.normal_(std=0.5)


@torch.inference_mode()
def test_untrained_adapters_change_nothing(tiny: ModelConfig) -> None:
    before = build(tiny, adapters=False).encode_text(TEXTS)
    vlm = build(tiny)
    assert torch.equal(vlm.encode_text(TEXTS), before)
    torch.testing.assert_close(encode_adapted_text(vlm, TEXTS), before, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_trained_adapters_change_the_text_only_while_they_are_on(tiny: ModelConfig) -> None:
    vlm = build(tiny)
    before = vlm.encode_text(TEXTS)
    train(vlm)
    assert torch.equal(vlm.encode_text(TEXTS), before)
    adapted = encode_adapted_text(vlm, TEXTS)
    assert not torch.allclose(adapted, before, atol=1e-3)
    torch.testing.assert_close(adapted.norm(dim=1), torch.ones(3))
    assert torch.equal(vlm.encode_text(TEXTS), before)


def test_adapters_are_off_again_after_an_error(tiny: ModelConfig) -> None:
    vlm = build(tiny)
    before = vlm.encode_text(TEXTS)
    train(vlm)
    with pytest.raises(KeyError), adapters_on(vlm):
        raise KeyError
    assert torch.equal(vlm.encode_text(TEXTS), before)


@torch.inference_mode()
def test_trained_adapters_leave_images_and_captions_alone(tiny: ModelConfig) -> None:
    vlm, views = build(tiny), torch.cat([photo(32, 32, seed) for seed in range(3)])
    seen, captions = vlm.encode_views(views), caption_views(vlm, views)
    train(vlm)
    encode_adapted_text(vlm, TEXTS)
    assert torch.equal(vlm.encode_views(views).tokens, seen.tokens)
    assert caption_views(vlm, views) == captions


def test_adapters_alone_are_trained(tiny: ModelConfig) -> None:
    vlm = build(tiny)
    vlm.requires_grad_(False)
    for value in adapter_parameters(vlm):
        value.requires_grad_(True)
    torch.autograd.backward(encode_adapted_text(vlm, TEXTS).sum())
    with_gradient = {name for name, value in vlm.named_parameters() if value.grad is not None}
    assert with_gradient == {name for name, _ in vlm.named_parameters() if MARK in name}
    # two matrices for each of the two feed-forward layers of the only block
    assert len(adapter_parameters(vlm)) == 4


@torch.inference_mode()
def test_adapters_alone_are_saved_and_come_back(tiny: ModelConfig, tmp_path: Path) -> None:
    vlm = build(tiny)
    train(vlm)
    folder = ModelFolder(tmp_path)
    folder.save_part(tiny, "lora", vlm.clip, only=MARK)
    names = set(load_file(tmp_path / "lora.safetensors"))
    assert len(names) == 4
    assert all(MARK in name for name in names)
    again = build(tiny)
    folder.load_part("lora", again.clip, only=MARK)
    torch.testing.assert_close(encode_adapted_text(again, TEXTS), encode_adapted_text(vlm, TEXTS), rtol=0, atol=2e-3)
    assert torch.equal(again.encode_text(TEXTS), vlm.encode_text(TEXTS))


def test_text_towers_without_a_transformer_are_refused(tiny: ModelConfig) -> None:
    vlm = build(tiny, adapters=False)
    vlm.clip.text = torch.nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="no transformer to adapt"):
        add_text_adapters(vlm)
