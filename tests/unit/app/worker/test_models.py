"""Several models in one worker: each job goes to its own, and to no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app import machine
from app.errors import ModelUnavailableError, ServiceError
from app.images import ImageLimits
from app.jobs.job import RestoreOptions
from app.worker.engine import TileRef
from app.worker.local import restore_locally
from app.worker.memory import PIXEL_SHARE, STATE_SHARE
from app.worker.models import ModelSet
from app.worker.runner import Runner
from tests.support.workers import noise_png, read_pixels, write_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    folder = write_model(tmp_path_factory.mktemp("models") / "night", seed=5)
    places = {"day": "tiny", "night": str(folder)}
    both = ModelSet({name: Runner(place, "cpu", 1, 8, ImageLimits()) for name, place in places.items()})
    both.load()
    return both


def restore(models: ModelSet, job_id: str, options: RestoreOptions) -> np.ndarray:
    begun = models.begin(job_id, models.decode(noise_png(70, 60), None), options)
    for step in range(begun.steps):
        models.run([TileRef(job_id, tile, step) for tile in range(begun.tiles)])
        models.end_step(job_id)
    return read_pixels(models.encode(models.finish(job_id))[0]).astype(int)


def test_job_is_restored_by_the_model_it_names(models: ModelSet) -> None:
    results = {}
    for name in ("day", "night"):
        results[name] = restore(models, name, RestoreOptions(steps=1, model=name))
        alone = restore_locally(models._runners[name], noise_png(70, 60), RestoreOptions(steps=1))
        assert np.abs(results[name] - read_pixels(alone.data)).max() <= 1
    assert np.abs(results["day"] - results["night"]).max() > 1
    unnamed = restore(models, "unnamed", RestoreOptions(steps=1))
    assert np.abs(unnamed - results["day"]).max() <= 1


def test_tiles_of_two_models_in_a_batch_are_refused(models: ModelSet) -> None:
    for name in ("day", "night"):
        models.begin(name, models.decode(noise_png(), None), RestoreOptions(steps=1, model=name))
    with pytest.raises(RuntimeError, match="expected one model"):
        models.run([TileRef("day", 0, 0), TileRef("night", 0, 0)])
    for name in ("day", "night", "day"):
        models.discard(name)
    assert not models._names
    assert not any(runner._running for runner in models._runners.values())


def test_model_that_is_not_here_is_refused_before_anything_is_held(models: ModelSet) -> None:
    assert models.choose(None) == "day"
    assert models.choose("night") == "night"
    with pytest.raises(ModelUnavailableError, match="no model 'gone', it has day, night") as caught:
        models.begin("x", models.decode(noise_png(), None), RestoreOptions(model="gone"))
    assert not caught.value.retryable
    assert not models._names


def test_memory_is_planned_for_the_model_that_needs_most(models: ModelSet) -> None:
    needs = [runner.estimate_state_bytes(1000, 1000) for runner in models._runners.values()]
    assert models.estimate_state_bytes(1000, 1000) == max(needs) > 0
    assert all(models.batch_tiles(name) >= 1 for name in models.names)


def test_budgets_are_shares_of_what_the_loaded_models_leave(models: ModelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_limit_bytes", lambda: 10_000_000)
    for resident_bytes, free_bytes in ((0, 10_000_000), (6_000_000, 4_000_000)):
        monkeypatch.setattr(machine, "resident_bytes", lambda filled=resident_bytes: filled)
        assert models.state_budget_bytes() == pytest.approx(free_bytes * STATE_SHARE, abs=1)
        assert models.pixel_budget_bytes() == pytest.approx(free_bytes * PIXEL_SHARE, abs=1)
    monkeypatch.setattr(machine, "resident_bytes", lambda: 20_000_000)
    assert models.state_budget_bytes() == models.pixel_budget_bytes() == 1  # one photo at a time


def test_one_bad_model_stops_the_start(tmp_path: Path) -> None:
    runners = {name: Runner(place, "cpu", 1, 8, ImageLimits()) for name, place in (("a", "tiny"), ("b", "gone"))}
    with pytest.raises(ServiceError, match="gone"):
        ModelSet(runners).load()
    with pytest.raises(ValueError, match="at least one model"):
        ModelSet({})
