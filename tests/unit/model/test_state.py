"""A restoration between its steps: every tile once, every step whole."""

from __future__ import annotations

import pytest
import torch

from model.diffusion.context import Context
from model.state import Analysis, RestorationState
from model.tiling import TileGrid
from tests.unit.model.samples import photo

ANALYSIS = Analysis("a dog", (), Context(torch.zeros(1, 2, 3), torch.zeros(1, 4)))


def build(steps: int = 2, mask: torch.Tensor | None = None) -> RestorationState:
    image = photo(40, 50)[0]
    grid = TileGrid.cover(40, 50, 32, 8)
    return RestorationState(image, 0.04, mask, ANALYSIS, grid, tuple(range(100, 0, -100 // steps)), (40, 50), 0, 8)


def predict(state: RestorationState, image: torch.Tensor, tiles: range | None = None) -> None:
    for index in tiles or range(state.tiles):
        rows, columns = state.grid.window(index)
        state.add_prediction(index, image[:, rows, columns])


def test_tiles_of_a_photo_blend_to_the_photo() -> None:
    state, image = build(), photo(40, 50, 3)[0]
    predict(state, image)
    torch.testing.assert_close(state.normalize_estimate(), image)


def test_order_of_tiles_does_not_matter_visibly() -> None:
    first, second, image = build(), build(), photo(40, 50, 3)[0]
    predict(first, image)
    for index in reversed(range(second.tiles)):
        predict(second, image, range(index, index + 1))
    torch.testing.assert_close(first.normalize_estimate(), second.normalize_estimate(), rtol=0, atol=1e-6)


def test_noise_is_drawn_as_far_as_tiles_need_it() -> None:
    whole, growing = build(), build()
    growing.draw_noise(3)
    assert growing._drawn_rows < 20, "all of it was drawn at once"
    for last in (3, 3, 20, 7, 40):
        assert torch.equal(growing.draw_noise(last)[:, :last], whole.noisy[:, :last])
    growing.noisy[0, 0, 0] = 5.0
    assert float(growing.draw_noise(40)[0, 0, 0]) == 5.0, "drawn again over a later state"


def test_a_tile_twice_is_refused() -> None:
    state = build()
    predict(state, state.degraded, range(1))
    with pytest.raises(RuntimeError, match="tile 0 of step 0 was predicted twice"):
        predict(state, state.degraded, range(1))


def test_missing_tiles_are_counted() -> None:
    state = build()
    predict(state, state.degraded, range(3))
    with pytest.raises(RuntimeError, match="1 of 4 tiles were not predicted yet"):
        state.normalize_estimate()


def test_steps_walk_down_the_times() -> None:
    state = build(4)
    seen = []
    while not state.is_done:
        seen.append((state.step, state.timestep, state.next_timestep))
        predict(state, state.degraded)
        state.normalize_estimate()
        state.start_step()
    assert seen == [(0, 100, 75), (1, 75, 50), (2, 50, 25), (3, 25, 0)]
    assert state.steps == 4


def test_every_step_starts_from_nothing() -> None:
    state, image = build(), photo(40, 50, 3)[0]
    for brightness in (1.0, 0.5):
        predict(state, image * brightness)
        torch.testing.assert_close(state.normalize_estimate(), image * brightness)
        state.start_step()


def test_nothing_is_added_to_a_state_that_is_done() -> None:
    state = build(1)
    predict(state, state.degraded)
    state.normalize_estimate()
    state.start_step()
    assert state.is_done
    with pytest.raises(RuntimeError):
        predict(state, state.degraded)
    with pytest.raises(RuntimeError, match="done"):
        state.normalize_estimate()


def test_memory_is_counted_with_the_mask() -> None:
    assert build().state_bytes == 3 * 3 * 40 * 50 * 4
    assert build(mask=torch.zeros(1, 40, 50)).state_bytes == 10 * 40 * 50 * 4


def test_a_step_that_is_restarted_or_normalized_twice_is_the_same() -> None:
    state, image = build(), photo(40, 50, 3)[0]
    predict(state, torch.zeros_like(image))
    state.normalize_estimate()
    state.restart_step()
    assert state.missing == set(range(state.tiles))
    predict(state, image)
    once = state.normalize_estimate().clone()
    assert torch.equal(state.normalize_estimate(), once)
    torch.testing.assert_close(once, image)
