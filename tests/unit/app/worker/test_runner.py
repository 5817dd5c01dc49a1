"""The runner when forwards fail: memory runs out, values explode, something unexpected happens."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from app.errors import (
    DeviceMemoryError,
    InvalidImageError,
    InvalidOptionError,
    NonFiniteOutputError,
    RestorationFailedError,
)
from app.images import ImageLimits, read_settings
from app.jobs.job import KINDS, RestoreOptions
from app.worker.engine import TileRef
from app.worker.failures import to_service_error
from app.worker.local import restore_locally
from app.worker.models import ModelSet
from app.worker.runner import Runner
from model.errors import ConfigError, NonFiniteError
from model.pipeline import RestorationState, Restorer
from tests.support.sample_photos import jpeg
from tests.support.workers import noise_png, read_pixels, tiny_runner


@dataclass
class Faults:
    """What goes wrong, by the seed of a job: NaN in half precision, NaN always, an unexpected error; or memory."""

    nan_once: set[int] = field(default_factory=set)
    nan_always: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    most_tiles: int = 1000
    memory_error: Exception = field(default_factory=lambda: torch.OutOfMemoryError("CUDA out of memory"))
    forwards: list[int] = field(default_factory=list)


class FaultyRestorer:
    """The real tiny restorer with faults in its forwards; NaN comes as the model reports it, mates served."""

    def __init__(self, real: Restorer, faults: Faults) -> None:
        self.real, self.faults = real, faults

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def forward_tiles(self, items: Sequence[tuple[RestorationState, int]], *, full_precision: bool = False) -> None:
        self.faults.forwards.append(len(items))
        if len(items) > self.faults.most_tiles:
            raise self.faults.memory_error
        if any(state.seed in self.faults.broken for state, _ in items):
            raise ValueError("a bug")
        bad_seeds = self.faults.nan_always | (set() if full_precision else self.faults.nan_once)
        bad = [state for state, _ in items if state.seed in bad_seeds]
        self.real.forward_tiles([(state, tile) for state, tile in items if state not in bad])
        if bad:
            raise NonFiniteError("NaN", bad[0])


class FaultyRunner(Runner):
    """A runner whose model has faults."""

    def __init__(self, faults: Faults, real: Restorer) -> None:
        super().__init__("tiny", "cpu", threads=1, batch_tiles=8, limits=ImageLimits())
        self._restorer = FaultyRestorer(real, faults)  # type: ignore[assignment]


def read_exif(data: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif()


@pytest.fixture(scope="module")
def real() -> Restorer:
    return tiny_runner().restorer


def full(work: Callable[..., Any], times: int) -> Callable[..., Any]:
    """The same, after memory has run out so many times."""
    left = [times]

    def run(*given: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return work(*given, **named)

    return run


def begin(runner: Runner, seeds: Sequence[int]) -> list[TileRef]:
    """One job of nine tiles per seed; gives all tiles, mixed."""
    for seed in seeds:
        begun = runner.begin(str(seed), runner.decode(noise_png(150, 150), None), RestoreOptions(steps=1, seed=seed))
        assert begun.tiles == 9
    return [TileRef(str(seed), tile, 0) for tile in range(9) for seed in seeds]


def test_out_of_memory_halves_the_batch_and_runs_every_tile(real: Restorer) -> None:
    for error in (torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory: ")):
        faults = Faults(most_tiles=2, memory_error=error)
        runner = FaultyRunner(faults, real)
        batch = begin(runner, [1])[:8]
        report = runner.run(batch)
        assert sorted(tile.tile_index for tile in report.ran) == list(range(8))
        assert not report.failed
        assert runner.batch_tiles == 2
        assert faults.forwards == [8, 4, 2, 2, 4, 2, 2]


def test_batches_halve_to_what_the_model_fills_them_up_to(real: Restorer) -> None:
    faults = Faults(most_tiles=4)
    runner = FaultyRunner(faults, real)
    report = runner.run(begin(runner, [1])[:7])
    assert len(report.ran) == 7
    assert faults.forwards == [7, 4, 3]
    assert runner.batch_tiles == 4


def test_limit_is_rounded_down_to_what_the_model_fills_batches_up_to() -> None:
    for wanted, most in ((1, 1), (2, 2), (3, 2), (8, 8), (12, 8), (1000, 512)):
        assert Runner("tiny", "cpu", 1, wanted, ImageLimits()).batch_tiles == most


def test_one_photo_that_lacked_memory_is_tried_once_more_after_freeing(
    real: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it lacked it for, and then never again."""
    photo, options = noise_png(70, 80), RestoreOptions(steps=2, seed=1)
    calm = restore_locally(FaultyRunner(Faults(), real), photo, options)
    for name in ("analyze", "begin", "forward_tiles", "finish_step", "finish"):
        for times, error in ((1, None), (2, DeviceMemoryError)):
            faulty = FaultyRunner(Faults(), real)
            freed: list[str] = []
            monkeypatch.setattr(real.forward, "forget_graphs", lambda freed=freed: freed.append("graphs"))
            setattr(faulty.restorer, name, full(getattr(faulty.restorer, name), times))
            faulty.batch_tiles = 1
            if error is None:
                assert restore_locally(faulty, photo, options).data == calm.data, name
                assert freed == ["graphs"], name
            else:
                with pytest.raises(error):
                    restore_locally(faulty, photo, options)


def test_full_precision_that_lacks_memory_goes_tile_by_tile(real: Restorer) -> None:
    faults = Faults(nan_once={1})
    runner = FaultyRunner(faults, real)
    batch = begin(runner, [1])[:4]
    forward, sizes = runner.restorer.forward_tiles, []

    def forward_tiles(items: Sequence[tuple[RestorationState, int]], *, full_precision: bool = False) -> None:
        sizes.append((len(items), full_precision))
        if full_precision and len(items) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        forward(items, full_precision=full_precision)

    runner.restorer.forward_tiles = forward_tiles  # type: ignore[method-assign]
    report = runner.run(batch)
    assert report.ran == batch
    assert sizes == [(4, False), (4, True), *([(1, True)] * 4)]


def test_looking_together_without_memory_frees_some(real: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, freed = FaultyRunner(Faults(), real), []
    monkeypatch.setattr(real.forward, "forget_graphs", lambda: freed.append("graphs"))
    runner.restorer.analyze_many = full(real.analyze_many, 1)  # type: ignore[method-assign]
    decoded = runner.decode(noise_png(70, 80), None)
    runner.look([("1", decoded, RestoreOptions())])
    assert freed == ["graphs"]
    assert runner.begin("1", decoded, RestoreOptions()).tiles == 4


def test_job_fails_when_not_even_one_tile_fits(real: Restorer) -> None:
    runner = FaultyRunner(Faults(most_tiles=0), real)
    report = runner.run(begin(runner, [1])[:4])
    assert report.ran == []
    assert isinstance(report.failed["1"], DeviceMemoryError)
    assert report.failed["1"].retryable


def test_non_finite_job_is_tried_in_full_precision_and_then_fails_alone(real: Restorer) -> None:
    runner = FaultyRunner(Faults(nan_once={1}, nan_always={2}), real)
    batch = begin(runner, [1, 2, 3])[:8]
    report = runner.run(batch)
    assert isinstance(report.failed.pop("2"), NonFiniteOutputError)
    assert not report.failed
    assert set(report.ran) == {tile for tile in batch if tile.job_id != "2"}
    assert len(report.ran) == len(set(report.ran))


@pytest.mark.parametrize("is_sick", [False, True])
def test_what_a_step_turns_out_to_lack_is_repeated_in_full_precision(is_sick: bool) -> None:
    """As on CUDA, where forwards do not wait for the device to say whether their output is finite."""
    runner = tiny_runner()
    runner.restorer.checks_later = True
    photo, options = noise_png(150, 150, seed=4), RestoreOptions(steps=2, seed=1)
    calm = restore_locally(runner, photo, options)
    calls: list[int] = []

    def fail(_: torch.nn.Module, given: Any, predicted: torch.Tensor) -> None:
        calls.append(len(predicted))
        if is_sick or len(calls) == 2:
            predicted[0] = torch.nan

    handle = runner.restorer.network.register_forward_hook(fail)
    try:
        if is_sick:
            with pytest.raises(NonFiniteOutputError):
                restore_locally(runner, photo, options)
            assert not runner._running
        else:
            rough = restore_locally(runner, photo, options)
            assert np.abs(read_pixels(calm.data).astype(int) - read_pixels(rough.data)).max() <= 1
            assert len(calls) == 2 * 5 + 1  # nine tiles in pairs, twice, and one pair more
    finally:
        handle.remove()


def test_unexpected_error_costs_only_the_job_that_causes_it(real: Restorer, caplog: pytest.LogCaptureFixture) -> None:
    runner = FaultyRunner(Faults(broken={2}), real)
    batch = begin(runner, [1, 2, 3])[:8]
    report = runner.run(batch)
    assert isinstance(report.failed.pop("2"), RestorationFailedError)
    assert not report.failed
    assert set(report.ran) == {tile for tile in batch if tile.job_id != "2"}
    assert "a bug" in caplog.text


def test_result_equals_the_reference_whatever_went_wrong(real: Restorer) -> None:
    photo = noise_png(100, 120, seed=4)
    options = RestoreOptions(steps=2, seed=1)
    calm = restore_locally(FaultyRunner(Faults(), real), photo, options)
    rough = restore_locally(FaultyRunner(Faults(most_tiles=2, nan_once={1}), real), photo, options)
    assert np.abs(read_pixels(calm.data).astype(int) - read_pixels(rough.data)).max() <= 1
    image = torch.from_numpy(read_pixels(photo).astype(np.float32) / 255).permute(2, 0, 1)[None]
    expected = real.restore(image, steps=2, seed=1).image[0].permute(1, 2, 0).numpy()
    assert np.abs(read_pixels(calm.data) / 255 - expected).max() <= 0.5 / 255 + 1e-4
    assert calm.steps == 2


def test_steps_follow_the_damage_found_unless_they_are_given(real: Restorer) -> None:
    mask = np.zeros((70, 80), np.uint8)
    mask[20:40, 20:40] = 255
    target = io.BytesIO()
    Image.fromarray(mask).save(target, "PNG")
    config = dataclasses.replace(real.config, steps_by_kind={"balanced": {"inpainting": 6}, "best": {}})
    runner = FaultyRunner(Faults(), Restorer(config, real.guidance, real.network))

    def steps(options: RestoreOptions, holes: bytes | None) -> int:
        begun = runner.begin("job", runner.decode(noise_png(80, 70), holes), options)
        runner.discard("job")
        return begun.steps

    assert steps(RestoreOptions(), target.getvalue()) == 6
    assert steps(RestoreOptions(quality="best"), target.getvalue()) == 4
    assert steps(RestoreOptions(quality="fast"), target.getvalue()) == 1
    assert steps(RestoreOptions(steps=3), target.getvalue()) == 3
    result = restore_locally(runner, noise_png(80, 70), RestoreOptions(), mask=target.getvalue())
    assert result.steps == 6


def test_kinds_that_are_told_take_the_place_of_those_found(real: Restorer) -> None:
    runner, photo = FaultyRunner(Faults(), real), noise_png(80, 70)
    plain, told, seen = "plain", "told", "seen"
    assert runner.begin(plain, runner.decode(photo, None), RestoreOptions()).findings != ()
    begun = runner.begin(told, runner.decode(photo, None), RestoreOptions(kinds=("rain", "snow")))
    assert {item.kind for item in begun.findings if item.probability == 1} == {"rain", "snow"}
    assert {item.kind for item in begun.findings if item.probability == 0} == set(KINDS) - {"rain", "snow"}
    runner.look([(seen, runner.decode(photo, None), RestoreOptions(kinds=("rain", "snow")))])
    assert runner.begin(seen, runner.decode(photo, None), RestoreOptions()).findings == begun.findings
    nothing = restore_locally(runner, photo, RestoreOptions(kinds=()))
    assert all(item.probability == 0 for item in nothing.findings)


def test_progress_counts_every_tile(real: Restorer) -> None:
    seen: list[tuple[int, int]] = []
    runner = FaultyRunner(Faults(), real)
    restore_locally(runner, noise_png(150, 150), RestoreOptions(steps=2), on_progress=lambda *now: seen.append(now))
    assert seen[-1] == (18, 18)
    assert seen == sorted(seen)


def test_memory_of_a_job_is_freed_when_it_fails_or_ends(real: Restorer) -> None:
    runner = FaultyRunner(Faults(broken={2}), real)
    runner.run(begin(runner, [1, 2]))
    assert set(runner._running) == {"1"}
    runner.discard("1")
    runner.discard("1")
    assert not runner._running


def test_warm_up_measures_states_and_keeps_nothing(real: Restorer) -> None:
    runner = FaultyRunner(Faults(), real)
    runner.warm_up()
    assert runner.estimate_state_bytes(1000, 1000) >= 12_000_000
    assert runner.state_budget_bytes() > 0
    assert not runner._running


def test_warm_up_fails_when_the_model_cannot_run(real: Restorer) -> None:
    with pytest.raises(DeviceMemoryError):
        FaultyRunner(Faults(most_tiles=0), real).warm_up()


def test_warm_up_tries_ever_larger_batches_within_the_limit(real: Restorer) -> None:
    faults = Faults()
    runner = FaultyRunner(faults, real)
    runner.warm_up()
    assert faults.forwards[:6] == [2, 2, 2, 4, 4, 4]
    assert set(faults.forwards) <= {2, 4, 8}
    assert runner.batch_tiles in (2, 4, 8)
    tight = FaultyRunner(Faults(most_tiles=3), real)
    tight.warm_up()
    assert tight.batch_tiles == 2


def test_empty_places_of_a_forward_are_counted(real: Restorer) -> None:
    runner = FaultyRunner(Faults(), real)
    assert [runner.padded_tiles(n) for n in (1, 2, 3, 4, 5, 8, 9)] == [1, 0, 1, 0, 3, 0, 7]


def test_errors_become_public_ones_without_private_words() -> None:
    assert isinstance(to_service_error(ConfigError("quality 'x': expected 'fast'")), RestorationFailedError)
    assert "secret" not in to_service_error(KeyError("secret")).detail
    option = InvalidOptionError("steps")
    assert to_service_error(option) is option


def test_bad_upload_and_unknown_model_are_public_errors() -> None:
    runner = Runner("no-such-model", "cpu", 1, 8, ImageLimits())
    assert runner.name == "no-such-model"
    with pytest.raises(InvalidImageError):
        runner.decode(noise_png()[:200], None)
    with pytest.raises(RestorationFailedError, match="no-such-model"):
        runner.load()
    with pytest.raises(RuntimeError, match="not loaded"):
        runner.warm_up()


def test_result_is_written_as_asked_and_tells_how_it_was_made() -> None:
    runner = tiny_runner()
    photo = jpeg(70, 50, orientation=1, dpi=(300, 300))
    plain = restore_locally(runner, photo, RestoreOptions(seed=7))
    steps = str(plain.steps)
    told = {"version": version("vlmir"), "model": "tiny", "steps": steps, "seed": "7", "quality": "balanced"}
    assert read_settings(plain.data) == told
    assert read_exif(plain.data)[ExifTags.Base.Make] == "Maker"
    small = restore_locally(runner, photo, RestoreOptions(seed=7, quality_factor=10, kinds=("rain", "snow")))
    assert len(small.data) < len(plain.data)
    assert read_settings(small.data)["kinds"] == "rain,snow"
    named = read_settings(restore_locally(runner, photo, RestoreOptions(steps=1, photo_metadata="strip-gps")).data)
    assert (named["steps"], "quality" in named) == ("1", False)
    bare = restore_locally(runner, photo, RestoreOptions(steps=1, photo_metadata="strip", caption="my house")).data
    assert (read_settings(bare), dict(read_exif(bare))) == ({}, {})


def test_result_names_the_model_as_its_callers_know_it() -> None:
    models = ModelSet({"night": tiny_runner()})
    models.begin("a", models.decode(noise_png(60, 50), None), RestoreOptions(steps=1, caption="my house"))
    models.run([TileRef("a", 0, 0)])
    models.end_step("a")
    data, _ = models.encode(models.finish("a"))
    assert read_settings(data)["model"] == "night"
    assert b"my house" not in data
