"""The degradation predictor in training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console

from model.checkpoint import ModelFolder
from model.config import ModelConfig
from model.degradation.kinds import KINDS
from model.pipeline import Restorer
from model.train.loop import RunOptions, run_training
from model.train.photos import Photo
from model.train.predictor import PredictorTask, supervised_contrast
from tests.unit.model.samples import generator


@pytest.mark.usefixtures("small_regions")
def test_a_run_writes_the_predictor_and_its_figures(tiny: ModelConfig, photos: list[Photo], tmp_path: Path) -> None:
    guidance = Restorer.random(tiny).guidance
    guidance.predictor.requires_grad_(True)
    before = {name: value.clone() for name, value in guidance.vlm.state_dict().items()}
    task = PredictorTask(guidance, photos[:6], photos[6:], torch.device("cpu"), 6)
    figures = run_training(task, RunOptions(tmp_path, steps=3, warmup_steps=1), Console(quiet=True))
    assert set(figures) >= {"macro_f1", "severity_error", "content_before", "content_after", "f1_noise"}
    assert all(0 <= figures[f"f1_{kind}"] <= 1 for kind in KINDS)
    assert -1 <= figures["content_after"] <= 1
    again = Restorer.random(tiny, seed=9).guidance.predictor
    ModelFolder(tmp_path).load_part("predictor", again)
    for name, value in again.state_dict().items():
        torch.testing.assert_close(
            value, task.module.state_dict()[name].float(), rtol=1e-3, atol=1e-3, check_dtype=False
        )
    assert all(torch.equal(value, before[name]) for name, value in guidance.vlm.state_dict().items())

    batch = task.batch(0, generator())
    assert batch.damaged.shape == batch.clean.shape
    assert batch.severities.shape == (6, len(KINDS))
    assert batch.damaged.min() >= 0
    assert batch.damaged.max() <= 1
    loss, parts = task.loss(batch, generator())
    assert bool(torch.isfinite(loss))
    assert set(parts) == {"bce", "severity_error", "contrast", "content"}
    torch.autograd.backward(loss)
    assert all(value.grad is not None for value in task.module.parameters())


def test_contrast_pulls_alike_samples_together() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    mixed = apart[[0, 2, 1, 3]]
    assert float(supervised_contrast(apart, labels)) < float(supervised_contrast(mixed, labels)) - 1


def test_contrast_weighs_overlapping_sets_by_their_overlap() -> None:
    embedding = torch.randn(6, 4, generator=generator())
    labels = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1]])
    order = torch.tensor([3, 5, 0, 2, 4, 1])
    torch.testing.assert_close(
        supervised_contrast(embedding[order], labels[order]), supervised_contrast(embedding, labels)
    )


@pytest.mark.parametrize("labels", [torch.zeros(3, 4), torch.eye(3, 4)])
def test_contrast_without_any_pair_is_zero_with_a_finite_gradient(labels: torch.Tensor) -> None:
    embedding = torch.randn(3, 5, generator=generator()).requires_grad_()
    loss = supervised_contrast(embedding, labels)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert embedding.grad is not None
    assert bool(torch.isfinite(embedding.grad).all())


def test_contrast_of_equal_embeddings_has_a_finite_gradient() -> None:
    embedding = torch.zeros(4, 5, requires_grad=True)
    torch.autograd.backward(supervised_contrast(embedding, torch.ones(4, 2)))
    assert embedding.grad is not None
    assert bool(torch.isfinite(embedding.grad).all())
