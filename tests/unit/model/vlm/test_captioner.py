"""Greedy captions: they stop at the end token, hold words only, and do not depend on company."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.config import load_config
from model.vlm.captioner import caption_views
from model.vlm.tokenizer import END, SPECIALS
from model.vlm.vision_language import VisionLanguageModel
from tests.unit.model.samples import photo

WORDS = tuple(f"word{index}" for index in range(60))  # every id of the tiny vocabulary has a word
VIEWS = torch.cat([photo(32, 32, seed) for seed in range(4)])


class Decoder(torch.nn.Module):
    """Stands where CoCa's text decoder does and prefers ids in an order fixed beforehand."""

    def __init__(self, ranks: list[list[int]]) -> None:
        super().__init__()
        self.ranks = ranks  # ids of one position, the most likely first

    def forward(self, image_tokens: torch.Tensor, text_tokens: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*text_tokens.shape[:2], 64)
        for position in range(text_tokens.shape[1]):
            ranks = self.ranks[min(position, len(self.ranks) - 1)]
            for place, index in enumerate(ranks):
                logits[:, position, index] = 10.0 - place
        return logits


def build(seed: int = 0) -> VisionLanguageModel:
    torch.manual_seed(seed)
    return VisionLanguageModel(load_config("tiny").vlm, WORDS).eval()


def scripted(ranks: list[list[int]]) -> VisionLanguageModel:
    vlm = build()
    vlm.clip.text_decoder = Decoder(ranks)
    return vlm


def test_caption_stops_at_the_end_token() -> None:
    assert caption_views(scripted([[10], [11], [END], [12]]), VIEWS[:1]) == ["word6 word7"]


def test_end_at_once_is_an_empty_caption() -> None:
    assert caption_views(scripted([[END]]), VIEWS[:2]) == ["", ""]


def test_specials_are_never_written() -> None:
    specials = [index for index in range(len(SPECIALS)) if index != END]
    assert caption_views(scripted([[*specials, 20], [*specials, 21], [END]]), VIEWS[:1]) == ["word16 word17"]


def test_a_word_is_not_repeated_at_once() -> None:
    caption = caption_views(scripted([[10, 11]]), VIEWS[:1])[0].split()
    assert caption[:4] == ["word6", "word7", "word6", "word7"]


@pytest.mark.parametrize(("max_tokens", "words"), [(None, 11), (5, 4), (2, 1), (500, 11)])
def test_caption_is_no_longer_than_asked_and_than_the_model_can(max_tokens: int | None, words: int) -> None:
    caption = caption_views(scripted([[10, 11]]), VIEWS[:1], max_tokens=max_tokens)[0]
    assert len(caption.split()) == words


@pytest.mark.parametrize("seed", range(3))
def test_captions_of_a_random_model_hold_only_words(seed: int) -> None:
    captions = caption_views(build(seed), VIEWS)
    assert len(captions) == 4
    for caption in captions:
        assert set(caption.split()) <= set(WORDS)
        assert "<" not in caption


@pytest.mark.parametrize("seed", range(3))
def test_company_does_not_change_a_caption(seed: int) -> None:
    vlm = build(seed)
    alone = [caption_views(vlm, VIEWS[i : i + 1])[0] for i in range(4)]
    assert caption_views(vlm, VIEWS) == alone


def test_plain_clip_is_refused_with_advice() -> None:
    config = dataclasses.replace(load_config("tiny").vlm, decoder_layers=0)
    vlm = VisionLanguageModel(config, WORDS)
    assert not vlm.has_captions
    with pytest.raises(ValueError, match="no caption decoder; use a CoCa model or pass a caption"):
        caption_views(vlm, VIEWS)
