from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from app.jobs.job import RestoreOptions
from app.jobs.previews import MAX_PREVIEW_BYTES
from app.worker.engine import TileRef
from app.worker.pixels import sample_small
from app.worker.previews import PreviewPolicy, encode_preview
from app.worker.runner import Runner
from tests.support.workers import noise_png, tiny_runner


@pytest.fixture(scope="module")
def runner() -> Runner:
    return tiny_runner()


@pytest.mark.parametrize(
    ("every", "steps", "expected"),
    [
        (1, 1, []),
        (1, 2, [1]),
        (1, 4, [1, 2, 3]),
        (2, 4, [2]),
        (2, 5, [2]),
        (3, 5, []),
        (3, 7, [3]),
        (0, 9, []),
    ],
)
def test_previews_come_every_so_many_steps_but_never_for_the_last(every: int, steps: int, expected: list[int]) -> None:
    policy = PreviewPolicy(every=every)
    assert [done + 1 for done in range(steps) if policy.is_due(done, steps)] == expected


def test_file_is_small_whatever_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    data = encode_preview(pixels)
    assert data is not None
    assert len(data) <= MAX_PREVIEW_BYTES
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (256, 256))
    huge = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    data = encode_preview(huge)
    assert data is None or len(data) <= MAX_PREVIEW_BYTES


def test_small_picture_looks_like_the_photo() -> None:
    rows, columns = torch.linspace(0, 1, 90)[:, None], torch.linspace(0, 1, 130)
    photo = torch.stack([rows.expand(90, 130), columns.expand(90, 130), rows * columns])
    weights = torch.rand(90) + 0.5, torch.rand(130) + 0.5
    small = sample_small(photo * weights[0][:, None] * weights[1], weights, (80, 120), 30)
    assert small.shape == (20, 30, 3)
    assert small.dtype == np.uint8
    expected = torch.nn.functional.interpolate(photo[None, :, :80, :120], (20, 30), mode="area")[0]
    assert np.abs(small / 255 - expected.permute(1, 2, 0).numpy()).max() < 0.02
    assert sample_small(photo * weights[0][:, None] * weights[1], weights, (80, 120), 500).shape == (80, 120, 3)
    assert sample_small(torch.ones(3, 2000, 64), (torch.ones(2000), torch.ones(64)), (2000, 1), 100).shape == (
        100,
        1,
        3,
    )


def test_preview_is_the_estimate_of_this_step_and_changes_nothing(runner: Runner) -> None:
    results = []
    for with_preview in (False, True):
        begun = runner.begin("job", runner.decode(noise_png(150, 100), None), RestoreOptions(steps=2, seed=3))
        for step in range(begun.steps):
            assert runner.preview("job", 40) is None  # tiles are missing
            report = runner.run([TileRef("job", tile, step) for tile in range(begun.tiles)])
            assert not report.failed
            if with_preview:
                full = runner.preview("job", 1000)
                assert full is not None
                assert full.shape == (100, 150, 3)
                small = runner.preview("job", 30)
                assert small is not None
                assert small.shape == (20, 30, 3)
                if step == 1:
                    last = full
            runner.end_step("job")
        assert runner.preview("job", 40) is None
        results.append(runner.finish("job").image)
    assert torch.equal(*results)
    # of the last step the estimate is the result; at full size every pixel is itself
    assert np.abs(last / 255 - results[0][0].permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
