"""The reference loop: any size, any company, the same picture; one broken job harms no other."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from model.config import QUALITIES
from model.diffusion.noise import pixel_noise
from model.diffusion.scheduler import MeanRevertingScheduler
from model.errors import CheckpointError, ConfigError, NonFiniteError, ShapeError
from model.pipeline import RestorationState, Restorer, list_models
from tests.unit.model.samples import generator, photo


def start(
    restorer: Restorer, image: torch.Tensor, *, steps: int = 2, seed: int = 0, mask: torch.Tensor | None = None
) -> RestorationState:
    return restorer.begin(image, restorer.analyze(image), steps=steps, seed=seed, mask=mask)


def drive(restorer: Restorer, states: list[RestorationState], batch: int) -> list[torch.Tensor]:
    """Run states together, tiles of all mixed; the states may have different numbers of steps."""
    while open_states := [state for state in states if not state.is_done]:
        rounds = itertools.zip_longest(*([(state, index) for index in range(state.tiles)] for state in open_states))
        tiles = [tile for tiles in rounds for tile in tiles if tile is not None]
        for first in range(0, len(tiles), batch):
            restorer.forward_tiles(tiles[first : first + batch])
        for state in open_states:
            restorer.finish_step(state)
    return [restorer.finish(state).image for state in states]


def differing_pixels(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    """Largest difference of 8-bit results, and pixels that differ per 100 000."""
    difference = ((first * 255).round() - (second * 255).round()).abs().amax(1)
    return float(difference.max()), float((difference > 0).float().mean() * 100_000)


@pytest.mark.parametrize("size", [(65, 64), (90, 131), (201, 77)])
def test_tiles_lie_on_the_block_grid_of_jpeg_files(restorer: Restorer, size: tuple[int, int]) -> None:
    state = start(restorer, photo(*size))
    assert state.tiles > 1
    assert all(start % 8 == 0 for start in (*state.grid.tops, *state.grid.lefts))
    assert state.size == size


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 200), (200, 1), (2, 3), (63, 65), (64, 64), (65, 64), (90, 131), (121, 64), (300, 20)]
)
def test_result_has_the_size_of_the_photo(restorer: Restorer, size: tuple[int, int]) -> None:
    result = restorer.restore(photo(*size), steps=2)
    assert result.image.shape == (1, 3, *size)
    assert result.image.dtype == torch.float32
    assert bool(torch.isfinite(result.image).all())
    assert result.image.min() >= 0
    assert result.image.max() <= 1
    assert result.steps == 2
    assert len(result.findings) == 10
    assert all(0 <= item.probability <= 1 and 0 <= item.severity <= 1 for item in result.findings)


def test_same_seed_same_picture_other_seed_another(restorer: Restorer) -> None:
    first, again, other = (restorer.restore(photo(), steps=2, seed=seed).image for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("batch_tiles", [1, 2, 3, 5, 8])
def test_batch_size_does_not_change_the_picture(restorer: Restorer, batch_tiles: int) -> None:
    image = photo(180, 200)
    largest, share = differing_pixels(
        restorer.restore(image, steps=3).image, restorer.restore(image, steps=3, batch_tiles=batch_tiles).image
    )
    assert largest <= 1
    assert share <= 1


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_company_does_not_change_a_picture(restorer: Restorer, batch: int) -> None:
    photos = [photo(70 + 40 * index, 150 - 30 * index, index) for index in range(4)]
    alone = [restorer.restore(image, steps=1 + index, seed=index).image for index, image in enumerate(photos)]
    states = [start(restorer, image, steps=1 + index, seed=index) for index, image in enumerate(photos)]
    for before, after in zip(alone, drive(restorer, states, batch), strict=True):
        largest, share = differing_pixels(before, after)
        assert largest <= 1
        assert share <= 1


def test_stochastic_bridge_repeats_itself_and_differs_from_the_mean(restorer: Restorer) -> None:
    config = dataclasses.replace(
        restorer.config, diffusion=dataclasses.replace(restorer.config.diffusion, stochastic=True)
    )
    noisy = Restorer.random(config)
    first, again = (noisy.restore(photo(150, 100), steps=3, seed=2, batch_tiles=n).image for n in (4, 1))
    largest, share = differing_pixels(first, again)
    assert largest <= 1
    assert share <= 1
    assert not torch.equal(first, restorer.restore(photo(150, 100), steps=3, seed=2).image)


@pytest.mark.parametrize("stochastic", [False, True])
@torch.inference_mode()
def test_a_photo_of_one_tile_by_hand(restorer: Restorer, stochastic: bool) -> None:
    config = dataclasses.replace(
        restorer.config, diffusion=dataclasses.replace(restorer.config.diffusion, stochastic=stochastic)
    )
    model, image, seed = Restorer.random(config), photo(64, 64), 11
    model.network.backbone.get_parameter("out.bias").mul_(20)  # estimates that leave [0, 1]
    context, scheduler = model.analyze(image).context, MeanRevertingScheduler(stochastic=stochastic)
    state = image + 10 / 255 * pixel_noise(seed, 0, range(64), 64)
    for index, (now, following) in enumerate([(100, 67), (67, 33), (33, 0)]):
        estimate = model.network(state, image, torch.zeros(1, 1, 64, 64), torch.tensor([now]), context)
        state = scheduler.step(
            estimate.clamp(0, 1),
            now,
            state,
            image,
            previous_timestep=following,
            noise=pixel_noise(seed, index + 1, range(64), 64)[None],
        ).prev_sample
    assert float(estimate.min()) < 0 or float(estimate.max()) > 1
    torch.testing.assert_close(model.restore(image, steps=3, seed=seed).image, state, rtol=0, atol=1e-5)


def test_tall_photos_have_no_seam_between_strips(restorer: Restorer) -> None:
    # whole-photo arithmetic runs in strips of 256 rows: noise and steps must go on across them
    state = start(restorer, photo(520, 64), seed=3)
    noise = pixel_noise(3, 0, range(520), 64)
    torch.testing.assert_close(state.noisy - state.degraded, 10 / 255 * noise, rtol=0, atol=1e-6)


def test_progress_is_told_after_every_step(restorer: Restorer) -> None:
    told: list[tuple[int, int]] = []
    restorer.restore(photo(), steps=3, on_step=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_steps_come_from_the_quality(restorer: Restorer) -> None:
    assert [restorer.default_steps(quality) for quality in QUALITIES] == [1, 2, 4]
    assert restorer.restore(photo()).steps == restorer.default_steps("balanced")
    with pytest.raises(ConfigError, match="'great': expected one of fast, balanced, best"):
        restorer.default_steps("great")


@pytest.mark.parametrize("steps", [0, -1, 101])
def test_steps_out_of_range_are_refused(restorer: Restorer, steps: int) -> None:
    with pytest.raises(ConfigError, match=f"got {steps} steps, expected 1 to 100"):
        restorer.restore(photo(), steps=steps)


def test_a_caption_that_is_given_is_kept_and_matters(restorer: Restorer) -> None:
    given = restorer.restore(photo(), steps=1, caption="word3 word4")
    assert given.caption == "word3 word4"
    found = restorer.restore(photo(), steps=1)
    assert found.caption != given.caption
    assert not torch.equal(found.image, given.image)


def test_an_empty_caption_is_a_caption(restorer: Restorer) -> None:
    assert restorer.analyze(photo(), "").caption == ""


def test_photo_is_not_changed(restorer: Restorer) -> None:
    image = photo(70, 80)
    copy, mask = image.clone(), torch.zeros(1, 1, 70, 80)
    mask[..., :9, :9] = 1
    restorer.restore(image, steps=2, mask=mask)
    assert torch.equal(image, copy)


def test_what_lies_under_the_mask_does_not_matter(restorer: Restorer) -> None:
    image, mask = photo(80, 96), torch.zeros(1, 1, 80, 96)
    mask[..., 20:50, 30:60] = 1
    analysis = restorer.analyze(image)
    holes = torch.where(mask > 0, torch.rand(1, 3, 80, 96, generator=generator()), image)
    first, second = (drive(restorer, [restorer.begin(i, analysis, steps=2, mask=mask)], 4)[0] for i in (image, holes))
    assert torch.equal(first, second)


def test_mask_reaches_the_network(restorer: Restorer) -> None:
    image, mask = torch.full((1, 3, 70, 64), 0.5), torch.zeros(1, 1, 70, 64)
    mask[..., 10:30, 10:30] = 1  # holes are filled with the colour that is there already
    without, empty, given = (
        restorer.restore(image, steps=1, mask=value).image for value in (None, torch.zeros_like(mask), mask)
    )
    assert torch.equal(without, empty)
    assert not torch.equal(without, given)


def test_mask_is_cut_at_one_half(restorer: Restorer) -> None:
    image, mask = photo(64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., :8, :8] = 1
    sharp, soft = (restorer.restore(image, steps=1, mask=value).image for value in (mask, 0.4 + 0.2 * mask))
    assert torch.equal(sharp, soft)


@pytest.mark.parametrize("shape", [(1, 3, 80, 96), (80, 96), (1, 1, 96, 80), (2, 1, 80, 96)])
def test_masks_of_another_shape_are_refused(restorer: Restorer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected \(1, 1, 80, 96\)"):
        restorer.restore(photo(80, 96), mask=torch.zeros(shape))


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 8, 8), torch.zeros(2, 3, 8, 8), torch.zeros(1, 4, 8, 8), torch.zeros(1, 3, 8, 0)]
)
def test_photos_of_another_shape_are_refused(restorer: Restorer, image: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="image: got"):
        restorer.restore(image)
    with pytest.raises(ShapeError, match="image: got"):
        restorer.begin(image, restorer.analyze(photo(8, 8)), steps=1)


def test_integer_photos_are_refused_with_advice(restorer: Restorer) -> None:
    with pytest.raises(ShapeError, match="divide uint8 images by 255"):
        restorer.restore(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_half_precision_photos_are_taken(restorer: Restorer) -> None:
    assert restorer.restore(photo(30, 40).half(), steps=1).image.dtype == torch.float32


def test_a_tile_twice_in_a_step_is_refused(restorer: Restorer) -> None:
    state = start(restorer, photo())
    restorer.forward_tiles([(state, 0)])
    with pytest.raises(RuntimeError, match="predicted twice"):
        restorer.forward_tiles([(state, 0)])


def test_a_step_without_all_its_tiles_is_refused(restorer: Restorer) -> None:
    state = start(restorer, photo())
    assert state.tiles > 1
    restorer.forward_tiles([(state, 0)])
    with pytest.raises(RuntimeError, match="were not predicted yet"):
        restorer.finish_step(state)
    assert state.step == 0


def test_results_of_unfinished_states_are_refused(restorer: Restorer) -> None:
    with pytest.raises(RuntimeError, match="step 0 of 2"):
        restorer.finish(start(restorer, photo()))


def test_no_more_steps_after_the_last(restorer: Restorer) -> None:
    state = start(restorer, photo(64, 64), steps=1)
    restorer.forward_tiles([(state, 0)])
    restorer.finish_step(state)
    with pytest.raises(RuntimeError):
        restorer.forward_tiles([(state, 0)])
    with pytest.raises(RuntimeError):
        restorer.finish_step(state)
    assert restorer.finish(state).steps == 1


def test_no_tiles_are_no_forward(restorer: Restorer) -> None:
    restorer.forward_tiles([])


def test_one_broken_job_leaves_its_mates_unharmed(restorer: Restorer) -> None:
    first, last = photo(64, 64, 1), photo(64, 64, 2)
    alone = [restorer.restore(image, steps=1).image for image in (first, last)]
    broken = start(restorer, photo(64, 64, 3), steps=1)
    with torch.inference_mode():
        broken.noisy[0, 5, 5] = torch.nan
    states = [start(restorer, first, steps=1), broken, start(restorer, last, steps=1)]
    with pytest.raises(NonFiniteError, match="NaN or infinity") as caught:
        restorer.forward_tiles([(state, 0) for state in states])
    assert caught.value.state is broken
    assert broken.missing == {0}
    for state, before in zip((states[0], states[2]), alone, strict=True):
        restorer.finish_step(state)
        largest, share = differing_pixels(restorer.finish(state).image, before)
        assert largest <= 1
        assert share <= 1
    with pytest.raises(RuntimeError, match="not predicted yet"):
        restorer.finish_step(broken)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_reported(restorer: Restorer, value: float) -> None:
    sick = Restorer.random(restorer.config, seed=1)
    sick.network.backbone.get_parameter("out.bias").data[0] = value
    state = start(sick, photo(64, 64), steps=1)
    with pytest.raises(NonFiniteError) as caught:
        sick.forward_tiles([(state, 0)], full_precision=True)
    assert caught.value.state is state


def test_random_models_repeat_themselves_and_leave_the_global_generator_alone(restorer: Restorer) -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    first, again, other = (Restorer.random(restorer.config, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    results = [item.restore(photo(), steps=1).image for item in (first, again, other)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert torch.equal(results[0], restorer.restore(photo(), steps=1).image)


def test_models_can_be_listed_and_described(restorer: Restorer) -> None:
    assert "tiny" in list_models()
    assert restorer.name == "tiny"
    assert restorer.tile_px == 64
    assert restorer.parameters_count == sum(
        value.numel() for part in (restorer.guidance, restorer.network) for value in part.parameters()
    )
    assert str(restorer.device) == "cpu"


def test_unknown_models_are_refused() -> None:
    with pytest.raises(CheckpointError, match="known models"):
        Restorer.load("enormous")


def test_holes_are_found_without_a_mask_when_the_findings_say_so(restorer: Restorer) -> None:
    image = photo(120, 150) * 0.8 + 0.1 * torch.rand(1, 3, 120, 150, generator=generator())
    image[..., 30:60, 40:80] = 1.0
    analysis = restorer.analyze(image)
    likely = tuple(
        dataclasses.replace(item, probability=0.9 if item.kind == "inpainting" else 0.0) for item in analysis.findings
    )
    found = restorer.begin(image, dataclasses.replace(analysis, findings=likely), steps=1)
    assert found.mask is not None
    assert bool((found.mask[0, 32:58, 42:78] == 1).all())
    assert float(found.mask.mean()) < 0.12
    unlikely = tuple(dataclasses.replace(item, probability=0.1) for item in analysis.findings)
    assert restorer.begin(image, dataclasses.replace(analysis, findings=unlikely), steps=1).mask is None


@pytest.mark.parametrize("stochastic", [False, True])
def test_a_step_that_stopped_half_way_goes_on_where_it_stopped(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch, stochastic: bool
) -> None:
    config = dataclasses.replace(
        restorer.config, diffusion=dataclasses.replace(restorer.config.diffusion, stochastic=stochastic)
    )
    mine = Restorer(config, restorer.guidance, restorer.network)
    image = photo(70, 80)
    expected = mine.restore(image.clone(), steps=2, seed=3).image
    state = mine.begin(image.clone(), mine.analyze(image), steps=2, seed=3)
    calls, step = [], mine.scheduler.step

    def run_out(*given: Any, **named: Any) -> Any:
        calls.append(0)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("out of memory")
        return step(*given, **named)

    monkeypatch.setattr(mine.scheduler, "step", run_out)
    mine.forward_tiles([(state, index) for index in range(state.tiles)])
    with pytest.raises(torch.OutOfMemoryError):
        mine.finish_step(state)
    mine.finish_step(state)
    assert len(calls) == 1 + -(-state.noisy.shape[1] // 16)  # no strip twice
    mine.forward_tiles([(state, index) for index in range(state.tiles)])
    mine.finish_step(state)
    assert torch.equal(mine.finish(state).image, expected)


def test_checking_at_the_end_of_a_step_gives_the_same_pictures(restorer: Restorer) -> None:
    later = Restorer(restorer.config, restorer.guidance, restorer.network)
    later.checks_later = True
    images = [photo(100, 120, 1), photo(70, 80, 2)]
    expected = drive(restorer, [start(restorer, image.clone(), steps=3) for image in images], 4)
    found = drive(later, [start(later, image.clone(), steps=3) for image in images], 4)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_what_is_not_finite_is_told_at_the_end_of_the_step_and_can_be_repeated(restorer: Restorer) -> None:
    later = Restorer(restorer.config, restorer.guidance, restorer.network)
    later.checks_later = True
    images = [photo(100, 120, 1), photo(100, 120, 2)]
    expected = drive(restorer, [start(restorer, image.clone(), steps=1) for image in images], 8)
    states = [start(later, image.clone(), steps=1) for image in images]

    def fail(_: torch.nn.Module, given: Any, predicted: torch.Tensor) -> None:
        predicted[1] = torch.nan

    handle = later.network.register_forward_hook(fail)
    later.forward_tiles([(state, index) for index in range(3) for state in states])
    handle.remove()
    later.forward_tiles([(state, 3) for state in states])
    later.finish_step(states[0])
    with pytest.raises(NonFiniteError) as caught:
        later.finish_step(states[1])
    assert caught.value.state is states[1]
    assert states[1].missing == {0}
    later.forward_tiles([(states[1], 0)], full_precision=True)
    later.finish_step(states[1])
    for state, before in zip(states, expected, strict=True):
        torch.testing.assert_close(later.finish(state).image, before, rtol=0, atol=1e-5)
