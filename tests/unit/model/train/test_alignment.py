"""Caption pairs, and adapters that bring the two captions of a pair together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from model.config import ModelConfig
from model.errors import ModelError
from model.pipeline import Restorer
from model.train.alignment import AlignmentTask
from model.train.captions import caption_pairs, caption_table
from model.train.loop import RunOptions, run_training
from model.train.photos import Photo
from model.vlm.lora import MARK

PAIRS = [(f"word{i} word{i + 1}", f"word{i + 2} word{i}") for i in range(8)]


def test_training_brings_damaged_captions_to_the_clean_ones(tiny: ModelConfig, tmp_path: Path) -> None:
    guidance = Restorer.random(tiny).guidance
    frozen = {name: value.clone() for name, value in guidance.vlm.state_dict().items() if MARK not in name}
    task = AlignmentTask(guidance, PAIRS, PAIRS, batch_size=8)
    options = RunOptions(tmp_path, steps=60, learning_rate=0.02, warmup_steps=5, ema_decay=0.8)
    figures = run_training(task, options, Console(quiet=True))
    assert figures["cosine_after"] > figures["cosine_before"] + 0.02
    assert all(torch.equal(guidance.vlm.state_dict()[name], value) for name, value in frozen.items())
    assert all(MARK in name for name in load_file(tmp_path / "lora.safetensors"))
    table = (tmp_path / "training" / "lora" / "held_out_pairs.tsv").read_text(encoding="utf-8").splitlines()
    assert table[:2] == ["damaged\tclean", "word0 word1\tword2 word0"]


@pytest.mark.parametrize(("pairs", "held_out"), [([], PAIRS), (PAIRS, [])])
def test_alignment_needs_pairs_of_both_sorts(
    restorer: Restorer, pairs: list[tuple[str, str]], held_out: list[tuple[str, str]]
) -> None:
    with pytest.raises(ModelError, match="expected some of both"):
        AlignmentTask(restorer.guidance, pairs, held_out)


def test_pairs_of_captions_come_in_order_and_repeat_themselves(restorer: Restorer, photos: list[Photo]) -> None:
    pairs = caption_pairs(restorer.guidance, photos, seed=3)
    assert len(pairs) == len(photos)
    assert pairs == caption_pairs(restorer.guidance, photos, seed=3)
    other = caption_pairs(restorer.guidance, photos, seed=4)
    assert [clean for _, clean in other] == [clean for _, clean in pairs]  # the seed is of the damage
    assert all(isinstance(text, str) for pair in pairs for text in pair)


def test_table_holds_two_embeddings_of_every_photo(restorer: Restorer, photos: list[Photo]) -> None:
    table = caption_table(restorer.guidance, photos, seed=3)
    assert table.shape == (len(photos), 2, restorer.config.vlm.embed_dim)
    torch.testing.assert_close(table.norm(dim=2), torch.ones(len(photos), 2))
    pairs = caption_pairs(restorer.guidance, photos, seed=3)
    with torch.inference_mode():
        torch.testing.assert_close(table[2], restorer.guidance.embed_captions(pairs[2])[0])
