"""One interface over our small CoCa and over open_clip's published models; errors that say what to change."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.config import VLMConfig, load_config
from model.errors import ConfigError, ShapeError
from model.guidance import Guidance
from model.pipeline import Restorer
from model.vlm.captioner import caption_views
from model.vlm.vision_language import VisionLanguageModel
from tests.unit.model.samples import photo
from tests.unit.model.vlm.published import CONFIG, write_published

WORDS = ("a", "dog", "runs")


@pytest.fixture(scope="module")
def vlm() -> VisionLanguageModel:
    torch.manual_seed(0)
    return VisionLanguageModel(load_config("tiny").vlm, WORDS).eval()


def views(count: int = 3, side: int = 32) -> torch.Tensor:
    return torch.cat([photo(side, side, seed) for seed in range(count)])


@torch.inference_mode()
def test_embeddings_have_unit_length(vlm: VisionLanguageModel) -> None:
    seen, read = vlm.encode_views(views()), vlm.encode_text(["a dog", "runs", ""])
    for embedding in (seen.embedding, read):
        assert embedding.shape == (3, 32)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))


@torch.inference_mode()
def test_tokens_come_from_an_early_and_the_last_block(vlm: VisionLanguageModel) -> None:
    seen = vlm.encode_views(views())
    assert seen.tokens.shape == seen.early.shape == (3, 4, 32)
    assert not torch.allclose(seen.tokens, seen.early)
    last = dataclasses.replace(vlm.config, early_block=7)  # beyond the last block means the last block
    torch.manual_seed(0)
    again = VisionLanguageModel(last, WORDS).eval().encode_views(views())
    assert torch.equal(again.early, again.tokens)
    torch.testing.assert_close(again.tokens, seen.tokens)


@torch.inference_mode()
def test_rows_do_not_see_each_other(vlm: VisionLanguageModel) -> None:
    whole, texts = vlm.encode_views(views()), ["a dog", "runs runs runs", "dog"]
    for i in range(3):
        alone = vlm.encode_views(views()[i : i + 1])
        torch.testing.assert_close(alone.tokens[0], whole.tokens[i], rtol=0, atol=1e-5)
        torch.testing.assert_close(vlm.encode_text(texts[i : i + 1])[0], vlm.encode_text(texts)[i], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_different_captions_have_different_embeddings(vlm: VisionLanguageModel) -> None:
    read = vlm.encode_text(["a dog", "dog a", "a", "a dog"])
    assert torch.equal(read[0], read[3])
    assert not torch.allclose(read[0], read[1])
    assert not torch.allclose(read[0], read[2])


def test_views_of_integers_are_refused(vlm: VisionLanguageModel) -> None:
    with pytest.raises(ShapeError, match=r"views: got torch\.uint8"):
        vlm.encode_views((views() * 255).byte())


def test_plain_patch_embedding_can_be_chosen() -> None:
    config = dataclasses.replace(load_config("tiny").vlm, conv_stem=False)
    assert isinstance(VisionLanguageModel(config, WORDS).clip.visual.conv1, torch.nn.Conv2d)


def test_all_weights_are_finite_from_the_start(vlm: VisionLanguageModel) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        fresh = VisionLanguageModel(vlm.config, WORDS)
        assert all(bool(torch.isfinite(value).all()) and value.abs().max() < 10 for value in fresh.parameters())


@pytest.mark.parametrize(
    "source", ["open_clip:ViT-Nonsense/tag", "open_clip:ViT-B-32/no_such_tag", "nonsense", "local-dir:/no/such/folder"]
)
def test_unknown_models_are_refused_with_advice(source: str) -> None:
    with pytest.raises(ConfigError, match=r"open_clip cannot build or fetch it.*list_pretrained"):
        VisionLanguageModel(dataclasses.replace(CONFIG, source=source))


@pytest.mark.parametrize(("key", "value"), [("embed_dim", 21), ("width", 32), ("image_px", 64)])
def test_widths_that_differ_from_the_named_model_are_refused(tmp_path: Path, key: str, value: int) -> None:
    source = write_published(tmp_path, captions=False, weights=False)
    right = getattr(CONFIG, key)
    changes: dict[str, Any] = {key: value}
    with pytest.raises(ConfigError, match=f"set vlm.{key} to {right}"):
        VisionLanguageModel(dataclasses.replace(CONFIG, source=source, **changes), pretrained=False)


@pytest.mark.parametrize("captions", [True, False])
@torch.inference_mode()
def test_published_model_is_loaded_with_its_weights_and_range(tmp_path: Path, captions: bool) -> None:
    source = write_published(tmp_path, captions=captions)
    vlm = VisionLanguageModel(dataclasses.replace(CONFIG, source=source)).eval()
    stored = load_file(tmp_path / "open_clip_model.safetensors")
    assert torch.equal(vlm.clip.visual.conv1.weight, stored["visual.conv1.weight"])
    assert vlm.get_buffer("mean").flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert vlm.get_buffer("std").flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    seen, read = vlm.encode_views(views()), vlm.encode_text(["a dog", "a cat on a mat"])
    assert seen.embedding.shape == (3, 16)
    assert read.shape == (2, 16)
    torch.testing.assert_close(read.norm(dim=1), torch.ones(2))
    assert seen.tokens.shape == (3, 4, 24)
    assert vlm.has_captions == captions
    if captions:
        texts = caption_views(vlm, views(2))
        assert len(texts) == 2
        assert all("start_of_text" not in text and "end_of_text" not in text for text in texts)


@pytest.mark.parametrize("captions", [True, False])
def test_published_model_guides_a_restoration(tmp_path: Path, captions: bool) -> None:
    source = write_published(tmp_path, captions=captions)
    config = dataclasses.replace(load_config("tiny"), vlm=dataclasses.replace(CONFIG, source=source))
    result = Restorer.random(config).restore(photo(40, 50), steps=1)
    assert result.image.shape == (1, 3, 40, 50)
    assert captions or result.caption is None
    assert len(Guidance(config, VisionLanguageModel(config.vlm)).embed_captions(["a dog", None])[0]) == 2


def test_published_model_without_weights_is_refused(tmp_path: Path) -> None:
    source = write_published(tmp_path, captions=False, weights=False)
    with pytest.raises(ConfigError, match="weights"):
        VisionLanguageModel(dataclasses.replace(CONFIG, source=source))


def test_name_without_a_tag_is_refused_when_weights_are_wanted() -> None:
    with pytest.raises(ConfigError, match="names no weights; add /TAG"):
        VisionLanguageModel(VLMConfig(source="open_clip:ViT-B-32"))


def test_image_towers_that_are_no_transformers_are_refused(tmp_path: Path) -> None:
    source = write_published(tmp_path, captions=False, weights=False, layers=[1, 1, 1, 1], width=8)
    with pytest.raises(ConfigError, match="not a vision transformer"):
        VisionLanguageModel(dataclasses.replace(CONFIG, source=source), pretrained=False)
