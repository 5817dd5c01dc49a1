"""The small CoCa in training."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from rich.console import Console

from model.checkpoint import ModelFolder
from model.config import ModelConfig
from model.errors import ModelError
from model.train.loop import RunOptions, TrainingStoppedError, run_training
from model.train.photos import Photo
from model.train.vlm import VLMTask, measure_retrieval, square_views
from tests.unit.model.samples import WORDS, generator

QUIET = Console(quiet=True)


class StoppedTask(VLMTask):
    """Told to stop while it makes the batch of the third step."""

    def batch(self, step: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(step, generator)


def build(config: ModelConfig, photos: list[Photo], cls: type[VLMTask] = VLMTask) -> VLMTask:
    torch.manual_seed(0)
    return cls(config, photos[:6], photos[6:], torch.device("cpu"), 3)


def test_a_run_writes_weights_vocabulary_and_captions(tiny: ModelConfig, photos: list[Photo], tmp_path: Path) -> None:
    task = build(tiny, photos)
    figures = run_training(task, RunOptions(tmp_path, steps=3, warmup_steps=1), QUIET)
    assert set(figures) == {"recall@1", "recall@10", "caption_loss"}
    again = ModelFolder(tmp_path).load_vlm(tiny).eval()
    assert set(again.tokenizer.words) == set(WORDS)
    task.module.eval()
    with torch.inference_mode():
        texts = ["a dog runs", "red ball"]
        torch.testing.assert_close(again.encode_text(texts), task.module.encode_text(texts), rtol=0, atol=5e-3)
    lines = (tmp_path / "training" / "vlm" / "captions_000003.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["6.jpg", "7.jpg"]


def test_an_interrupted_run_gives_the_same_weights(tiny: ModelConfig, photos: list[Photo], tmp_path: Path) -> None:
    whole, options = build(tiny, photos), RunOptions(tmp_path / "parts", steps=5, warmup_steps=2)
    run_training(whole, dataclasses.replace(options, out=tmp_path / "whole"), QUIET)
    with pytest.raises(TrainingStoppedError, match="step 3"):
        run_training(build(tiny, photos, StoppedTask), options, QUIET)
    resumed = build(tiny, photos)
    run_training(resumed, options, QUIET)
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(resumed.module.state_dict()[name], value, rtol=0, atol=1e-6)


def test_losses_start_near_chance_and_fall(tiny: ModelConfig, photos: list[Photo]) -> None:
    task = build(tiny, photos)
    batch = task.batch(0, generator())
    assert batch[0].shape == (3, 3, 32, 32)
    assert batch[1].shape == (3, tiny.vlm.context_length)
    start, parts = task.loss(batch, generator())
    assert parts["contrastive"] == pytest.approx(math.log(3), abs=1.0)
    assert parts["caption"] == pytest.approx(math.log(tiny.vlm.vocab_size), abs=1.0)
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        loss, _ = task.loss(batch, generator())
        torch.autograd.backward(loss)
        optimizer.step()
    assert float(loss.detach()) < float(start.detach()) - 1


def test_an_epoch_shows_every_photo_once(tiny: ModelConfig, photos: list[Photo]) -> None:
    task = build(tiny, photos)
    means = [float(view.mean()) for step in (0, 1) for view in task.batch(step, generator(step))[0]]
    assert len({round(mean, 3) for mean in means}) == 6


def test_retrieval_of_perfect_and_of_no_photos(tiny: ModelConfig, photos: list[Photo]) -> None:
    vlm = build(tiny, photos).module.eval()
    assert measure_retrieval(vlm, []) == {}
    alone = measure_retrieval(vlm, photos[:1])
    assert alone["recall@1"] == alone["recall@10"] == 1
    assert square_views(vlm, photos[:2]).shape == (2, 3, 32, 32)


def test_too_few_captioned_photos_are_refused(tiny: ModelConfig, photos: list[Photo]) -> None:
    silent = [dataclasses.replace(photo, captions=()) for photo in photos[:4]] + photos[4:6]
    with pytest.raises(ModelError, match="got 2 captioned photos, expected at least the batch size 3"):
        VLMTask(tiny, silent, [], torch.device("cpu"), 3)


def test_published_models_are_not_trained(tiny: ModelConfig, photos: list[Photo]) -> None:
    named = dataclasses.replace(tiny, vlm=dataclasses.replace(tiny.vlm, source="open_clip:ViT-B-32/openai"))
    with pytest.raises(ModelError, match="needs no training here"):
        VLMTask(named, photos, [], torch.device("cpu"), 3)
