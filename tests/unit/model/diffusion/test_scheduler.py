"""The diffusers scheduler: one time per sample, jumps backwards only, a configuration that survives saving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.diffusion.scheduler import MeanRevertingScheduler
from model.errors import ConfigError, ShapeError
from tests.unit.model.samples import generator, photo

CLEAN = torch.cat([photo(8, 8, seed) for seed in range(3)])
DEGRADED = torch.cat([photo(8, 8, 10 + seed) for seed in range(3)])


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 3, 8, 8, generator=generator(seed))


def jump(
    scheduler: MeanRevertingScheduler,
    t: torch.Tensor | int,
    s: torch.Tensor | int | None,
    rows: slice = slice(None),
    eps: torch.Tensor | None = None,
) -> torch.Tensor:
    state = DEGRADED + 0.1 * noise(1)
    result = scheduler.step(
        CLEAN[rows],
        t,
        state[rows],
        DEGRADED[rows],
        previous_timestep=s,
        noise=None if eps is None else eps[rows],
        return_dict=False,
    )
    assert isinstance(result, tuple)
    return result[0]


@pytest.mark.parametrize("stochastic", [False, True])
def test_each_sample_jumps_by_its_own_times(stochastic: bool) -> None:
    scheduler = MeanRevertingScheduler(stochastic=stochastic)
    t, s, eps = torch.tensor([100, 60, 7]), torch.tensor([50, 59, 0]), noise(2)
    together = jump(scheduler, t, s, eps=eps)
    alone = [jump(scheduler, int(t[i]), int(s[i]), slice(i, i + 1), eps) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-7)


def test_noise_is_added_by_each_samples_own_time() -> None:
    scheduler = MeanRevertingScheduler()
    times = torch.tensor([0, 50, 100])
    together = scheduler.add_noise(CLEAN, noise(), times, DEGRADED)
    alone = [
        scheduler.add_noise(CLEAN[i : i + 1], noise()[i : i + 1], times[i : i + 1], DEGRADED[i : i + 1])
        for i in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-7)
    torch.testing.assert_close(together[0], CLEAN[0])


def test_state_at_the_end_is_the_damaged_photo_and_noise() -> None:
    scheduler = MeanRevertingScheduler(final_mean=1e-6, noise_level=25.5)
    end = scheduler.add_noise(CLEAN, noise(), torch.tensor([100, 100, 100]), DEGRADED)
    torch.testing.assert_close(end, DEGRADED + 0.1 * noise(), rtol=0, atol=1e-5)


def test_last_jump_returns_the_estimate_whatever_the_state() -> None:
    for t in (1, 33, 100):
        torch.testing.assert_close(jump(MeanRevertingScheduler(), t, 0), CLEAN, rtol=0, atol=1e-6)


def test_mean_alone_ignores_noise_and_repeats_itself() -> None:
    scheduler = MeanRevertingScheduler(stochastic=False)
    assert torch.equal(jump(scheduler, 80, 40), jump(scheduler, 80, 40, eps=noise(5)))


def test_stochastic_jump_adds_its_noise_and_refuses_to_go_without() -> None:
    scheduler = MeanRevertingScheduler(stochastic=True)
    first, second = jump(scheduler, 80, 40, eps=noise(5)), jump(scheduler, 80, 40, eps=noise(6))
    assert not torch.equal(first, second)
    with pytest.raises(ShapeError, match="needs noise"):
        jump(scheduler, 80, 40)


@pytest.mark.parametrize(("t", "s"), [(50, 50), (50, 60), (0, 0)])
def test_time_runs_backwards_only(t: int, s: int) -> None:
    with pytest.raises(ShapeError, match="earlier time"):
        jump(MeanRevertingScheduler(), t, s)


def test_one_sample_that_goes_forward_is_enough_to_refuse() -> None:
    with pytest.raises(ShapeError, match="earlier time"):
        jump(MeanRevertingScheduler(), torch.tensor([100, 40, 40]), torch.tensor([50, 41, 0]))


@pytest.mark.parametrize(("t", "s"), [(101, 50), (100, -1), (0, None)])
def test_times_outside_the_bridge_are_refused(t: int, s: int | None) -> None:
    with pytest.raises(ShapeError):
        jump(MeanRevertingScheduler(), t, s)


def test_next_time_comes_from_the_grid() -> None:
    scheduler = MeanRevertingScheduler()
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [100, 75, 50, 25]
    assert scheduler.num_inference_steps == 4
    torch.testing.assert_close(
        jump(scheduler, torch.tensor([100, 75, 25]), None),
        jump(scheduler, torch.tensor([100, 75, 25]), torch.tensor([75, 50, 0])),
    )


def test_whole_walk_with_the_true_photo_ends_at_it() -> None:
    scheduler = MeanRevertingScheduler(stochastic=True)
    scheduler.set_timesteps(5)
    state = scheduler.add_noise(CLEAN, noise(), torch.full((3,), 100), DEGRADED)
    for t in scheduler.timesteps:
        state = scheduler.step(CLEAN, t, state, DEGRADED, noise=noise(int(t))).prev_sample
    torch.testing.assert_close(state, CLEAN, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [0, -1, 101])
def test_grids_that_do_not_fit_are_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match="1 to 100"):
        MeanRevertingScheduler().set_timesteps(steps)


def test_configuration_survives_saving(tmp_path: Path) -> None:
    scheduler = MeanRevertingScheduler(
        num_train_timesteps=40, schedule="linear", final_mean=0.01, noise_level=20.0, stochastic=True
    )
    scheduler.save_pretrained(tmp_path)
    again = MeanRevertingScheduler.from_pretrained(tmp_path)
    assert torch.equal(again.mean_weights, scheduler.mean_weights)
    assert again.noise_level == scheduler.noise_level
    assert again.stochastic
    assert again.timesteps.tolist() == list(range(40, 0, -1))
    assert dict(MeanRevertingScheduler.from_config(scheduler.config).config) == dict(scheduler.config)


def test_states_are_given_to_the_network_as_they_are() -> None:
    scheduler = MeanRevertingScheduler()
    assert scheduler.scale_model_input(CLEAN, 5) is CLEAN


def test_numbers_give_the_bits_that_tensors_give() -> None:
    scheduler, eps = MeanRevertingScheduler(stochastic=True), noise(2)
    for t, s in ((100, 50), (50, 0), (37, 36), (100, 50)):
        times = torch.full((3,), t), torch.full((3,), s)
        assert torch.equal(jump(scheduler, t, s, eps=eps), jump(scheduler, *times, eps=eps))


@pytest.mark.parametrize(("t", "s"), [(50, 50), (20, 60), (101, 50), (50, -1)])
def test_numbers_that_do_not_go_backwards_are_refused_each_time(t: int, s: int) -> None:
    scheduler = MeanRevertingScheduler()
    for _ in range(2):
        with pytest.raises(ShapeError, match="must go to an earlier time"):
            jump(scheduler, t, s)
