"""Stage two in training: batches that hold what inference meets, losses that fall, runs that can be interrupted."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from model.checkpoint import ModelFolder
from model.degradation.kinds import KINDS
from model.errors import ModelError
from model.pipeline import Restorer, build_network
from model.train.loop import RunOptions, TrainingStoppedError, run_training
from model.train.photos import Photo
from model.train.restorer import PHASES, RestorerBatch, RestorerTask
from tests.unit.model.samples import generator

QUIET = Console(quiet=True)
CPU = torch.device("cpu")


class StoppedTask(RestorerTask):
    """Told to stop while it makes the batch of the third step."""

    def batch(self, step: int, generator: torch.Generator) -> RestorerBatch:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(step, generator)


def build(
    restorer: Restorer, photos: list[Photo], cls: type[RestorerTask] = RestorerTask, kinds: tuple[str, ...] = KINDS
) -> RestorerTask:
    torch.manual_seed(0)
    return cls(restorer.guidance, photos[:6], photos[6:], CPU, kinds)


def train(task: RestorerTask, out: Path, steps: int = 4) -> dict[str, float]:
    return run_training(task, RunOptions(out, steps=steps, warmup_steps=2), QUIET)


@pytest.mark.parametrize("phase", range(len(PHASES)))
def test_batches_are_complete_and_in_range(restorer: Restorer, photos: list[Photo], phase: int) -> None:
    task = build(restorer, photos)
    task.progress, count = PHASES[phase].until, PHASES[phase].batch
    patch = int(PHASES[phase].patch * restorer.tile_px)
    task.batch(0, generator(5))  # the next batch takes some of its regions from this one
    batch = task.batch(1, generator())
    assert batch.degraded.shape == batch.clean.shape == batch.noise.shape == (count, 3, patch, patch)
    assert batch.mask.shape == (count, 1, patch, patch)
    assert bool(((batch.mask == 0) | (batch.mask == 1)).all())
    assert batch.clean.min() >= 0
    assert batch.clean.max() <= 1
    assert int(batch.timestep.min()) >= 1
    assert int(batch.timestep.max()) == restorer.config.diffusion.timesteps
    assert not bool(batch.own[batch.timestep == restorer.config.diffusion.timesteps].any())
    for owner in (batch, batch.features):
        for item in dataclasses.fields(owner):
            value = getattr(owner, item.name)
            if isinstance(value, torch.Tensor):
                assert value.shape[0] == count
                assert bool(torch.isfinite(value.float()).all())


@pytest.mark.parametrize("phase", range(len(PHASES)))
def test_patches_fit_the_network_whatever_the_tile(restorer: Restorer, photos: list[Photo], phase: int) -> None:
    odd = dataclasses.replace(
        restorer.config, tile_px=56
    )  # 14, 21 and 28 px patches: not all are multiples of what it halves
    torch.manual_seed(0)
    task = RestorerTask(restorer.guidance, photos[:6], photos[6:], CPU, config=odd)
    task.progress = PHASES[phase].until
    batch = task.batch(0, generator())
    with torch.no_grad():
        loss, _ = task.loss(batch, generator())
    assert batch.clean.shape[-1] <= PHASES[phase].patch * 56
    assert bool(torch.isfinite(loss))


def test_weights_to_start_from_are_loaded_and_skip_the_first_phase(
    restorer: Restorer, photos: list[Photo], tmp_path: Path
) -> None:
    ModelFolder(tmp_path).save_part(restorer.config, "restorer", restorer.network)
    task = RestorerTask(restorer.guidance, photos[:6], photos[6:], CPU, start_from=ModelFolder(tmp_path))
    for mine, saved in zip(task.network.parameters(), restorer.network.parameters(), strict=True):
        torch.testing.assert_close(mine, saved, rtol=1e-2, atol=1e-3)  # saved in half precision
    assert set(task._mixed(PHASES[0])) == set(KINDS)
    assert set(build(restorer, photos)._mixed(PHASES[0])) < set(KINDS)


def test_most_patches_lie_on_the_block_grid_and_all_inside(restorer: Restorer) -> None:
    places = torch.tensor(RestorerTask._places(2000, 31, generator()))
    assert places.shape == (2000, 2)
    assert int(places.min()) == 0
    assert int(places.max()) == 31
    share = float((places % 8 == 0).all(1).float().mean())
    assert share == pytest.approx(0.8 + 0.2 / 64, abs=0.04)


def test_a_universal_model_first_sees_the_commonest_kinds(restorer: Restorer, photos: list[Photo]) -> None:
    universal, single = build(restorer, photos), build(restorer, photos, kinds=("rain",))
    assert set(universal._mixed(PHASES[0])) == {"noise", "jpeg"}
    assert set(universal._mixed(PHASES[1])) == set(KINDS)
    assert single._mixed(PHASES[0]) == ("rain",)


def test_known_holes_are_filled_and_marked(restorer: Restorer, photos: list[Photo]) -> None:
    task = build(restorer, photos, kinds=("inpainting",))
    marked = 0.0
    for seed in range(4):
        batch = task.batch(0, generator(seed))
        marked += float(batch.mask.sum())
        assert bool((batch.degraded[batch.mask.expand_as(batch.degraded) > 0] == 0.5).all())
    assert marked > 0


def test_batches_repeat_themselves(restorer: Restorer, photos: list[Photo]) -> None:
    first, again, other = (build(restorer, photos).batch(0, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.degraded, again.degraded)
    assert torch.equal(first.noise, again.noise)
    assert first.degraded.shape != other.degraded.shape or not torch.equal(first.degraded, other.degraded)


def test_degradation_specific_model_learns_its_kind_alone(restorer: Restorer, photos: list[Photo]) -> None:
    task = build(restorer, photos, kinds=("low-light",))
    batch = task.batch(0, generator())
    assert float(batch.degraded.mean()) < float(batch.clean.mean())
    assert float(batch.mask.sum()) == 0
    with torch.inference_mode():
        figures = task.evaluate()
    assert set(figures) == {"psnr_low-light", "psnr_sigma25", "psnr_clean"}


def test_loss_starts_at_the_error_of_the_damaged_photo_and_falls(restorer: Restorer, photos: list[Photo]) -> None:
    task = build(restorer, photos, kinds=("low-light",))
    batch = task.batch(0, generator())
    start, _ = task.loss(batch, generator())
    error = (batch.degraded - batch.clean).square().flatten(1).mean(1)
    difference = batch.degraded - batch.clean
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    assert float(start.detach()) == pytest.approx(float((error + 1e-3).log().mean() + 0.5 * edges), rel=1e-3)
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=5e-3)
    for _ in range(25):
        optimizer.zero_grad()
        loss, figures = task.loss(batch, generator())
        torch.autograd.backward(loss)
        optimizer.step()
    assert float(loss.detach()) < float(start.detach()) - 0.5
    assert set(figures) == {"psnr", "edges"}


def test_stage_one_is_not_trained(restorer: Restorer, photos: list[Photo]) -> None:
    task = build(restorer, photos)
    loss, _ = task.loss(task.batch(0, generator()), generator())
    torch.autograd.backward(loss)
    assert not any(value.grad is not None for value in task.guidance.parameters())
    assert not any(value.requires_grad for value in task.guidance.parameters())


def test_a_run_writes_weights_figures_and_pictures(restorer: Restorer, photos: list[Photo], tmp_path: Path) -> None:
    task = build(restorer, photos)
    figures = train(task, tmp_path, 2)
    assert set(figures) == {f"psnr_{kind}" for kind in (*KINDS, "sigma25", "clean")}
    assert figures["psnr_clean"] > 30  # hardly trained, so still nearly the identity
    network = build_network(restorer.config)
    ModelFolder(tmp_path).load_part("restorer", network)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, task.module.state_dict()[name], rtol=0, atol=1e-3)
    assert (tmp_path / "training" / "restorer" / "samples_000002.jpg").stat().st_size > 1000


def test_an_interrupted_run_goes_on(restorer: Restorer, photos: list[Photo], tmp_path: Path) -> None:
    kinds = ("noise", "inpainting")
    with pytest.raises(TrainingStoppedError, match="stopped at step 3"):
        train(build(restorer, photos, StoppedTask, kinds), tmp_path)
    before = load_file(tmp_path / "training" / "restorer" / "state.safetensors")
    resumed = build(restorer, photos, kinds=kinds)
    train(resumed, tmp_path)
    after = load_file(tmp_path / "training" / "restorer" / "state.safetensors")
    assert set(before) == set(after)
    counts = {float(value) for name, value in after.items() if name.startswith("optimizer.step")}
    assert counts == {4.0}  # one step more than before the stop, on the moments of then
    moved = [(after[name] - value).abs().max() for name, value in before.items() if name.startswith("module.")]
    assert 0 < max(float(value) for value in moved) < 0.01


def test_photos_that_are_too_small_are_refused(restorer: Restorer, photos: list[Photo]) -> None:
    small = [dataclasses.replace(photo, pixels=photo.pixels[:50]) for photo in photos]
    with pytest.raises(ModelError, match="add larger photos"):
        build(restorer, small)
