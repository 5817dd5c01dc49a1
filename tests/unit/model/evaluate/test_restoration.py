"""A row of figures per case and method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from model.evaluate.baselines import list_baselines
from model.evaluate.cases import Case, list_cases
from model.evaluate.restoration import ClassicalMethod, Method, ModelMethod, measure, measure_case
from model.evaluate.run import format_row
from model.evaluate.samples import Sample, damage_photos
from model.pipeline import Restorer
from tests.unit.model.samples import photo, write_jpeg


@pytest.mark.parametrize("give_mask", [True, False])
def test_one_row_per_case(restorer: Restorer, tmp_path: Path, give_mask: bool) -> None:
    paths = [write_jpeg(tmp_path / f"{index}.jpg", 64, 80, index) for index in range(3)]
    cases = [
        case
        for suite in ("ten", "clean")
        for case in list_cases(suite)
        if case.name.split()[0] in ("noise", "inpainting", "clean")
    ]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rows = list(measure(restorer, paths, cases, 1, give_mask=give_mask, pictures=pictures))
    assert [row.case for row in rows] == ["noise 0.5", "inpainting 0.5", "clean"]
    assert all(set(row.before) == set(row.after) for row in rows)
    for row in rows:
        assert row.photos == 3
        assert row.steps == 1
        assert 0 < row.psnr_after < 100
        assert row.seconds > 0
    assert rows[2].psnr_before == pytest.approx(100)
    assert len(list(pictures.iterdir())) == 6
    with Image.open(pictures / "noise_0.5_0.jpg") as image:
        assert image.size == (3 * 80, 64)


def test_identity_measures_as_its_input(restorer: Restorer, tmp_path: Path) -> None:
    still = Restorer.random(restorer.config)
    for value in still.network.backbone.get_submodule("out").parameters():
        value.data.zero_()
    row = next(iter(measure(still, [write_jpeg(tmp_path / "a.jpg")], list_cases("jpeg"), 1)))
    assert row.psnr_after == pytest.approx(row.psnr_before, abs=0.1)


def test_methods_share_the_damage_and_are_measured_alike(restorer: Restorer, tmp_path: Path) -> None:
    paths = [write_jpeg(tmp_path / f"{index}.jpg", 64, 64, index) for index in range(2)]
    case = next(list_cases("denoise"))
    methods: list[Method] = [
        ModelMethod(restorer, 1),
        ModelMethod(restorer, 2),
        *map(ClassicalMethod, list_baselines(case.kinds)),
    ]
    rows = measure_case(case, damage_photos(case, paths), methods)
    assert [(row.method, row.steps) for row in rows] == [("model", 1), ("model", 2), ("non-local means", None)]
    assert len({row.psnr_before for row in rows}) == 1
    assert rows[2].psnr_after > rows[2].psnr_before + 3
    assert rows[2].after["ssim"] > rows[2].before["ssim"]
    assert rows[2].after["noise"] < rows[2].before["noise"]


def test_figures_are_the_same_on_a_second_run(restorer: Restorer, tmp_path: Path) -> None:
    path, case = write_jpeg(tmp_path / "a.jpg", 64, 64), next(list_cases("mixtures"))
    methods: list[Method] = [ModelMethod(restorer), *map(ClassicalMethod, list_baselines(case.kinds))]
    first, second = ([row.to_json() for row in measure_case(case, damage_photos(case, [path]), methods)] for _ in "ab")
    for row in (*first, *second):
        del row["seconds"]
    assert first == second


def test_photos_that_come_back_unchanged_do_not_pay_for_harmed_ones() -> None:
    """60 dB and 35 dB have a mean above 45 dB, though one photo of two was harmed."""

    @dataclass(frozen=True)
    class Harm:
        name: str = "harm"

        def restore(self, sample: Sample, case: Case) -> tuple[torch.Tensor, float | None]:
            # moved by whole levels: results are stored as 8-bit files
            moved = sample.damaged + (4 / 255 if sample.name == "harmed" else 0)
            moved[..., 0, 0] += 4 / 255
            return moved, 1

    clean = (photo(64, 64) * 200).round() / 255
    samples = [Sample(clean.clone(), clean, None, index, name) for index, name in enumerate(("whole", "harmed"))]
    (case,) = list_cases("clean")
    (row,) = measure_case(case, samples, [Harm()])
    assert row.psnr_after > 45
    assert row.after["psnr_capped"] == pytest.approx((45 + row.after["psnr_worst"]) / 2)
    assert row.after["psnr_worst"] == pytest.approx(36.1, abs=0.1)
    assert row.worst == row.to_json()["worst"] == "harmed"
    assert "worst 36.0" in format_row(row) or "worst 36.1" in format_row(row)
    (other,) = measure_case(next(list_cases("jpeg")), samples, [Harm()])
    assert "psnr_capped" not in other.after
    assert "worst" not in other.to_json()


def test_photos_without_a_reference_have_the_figures_that_need_none(restorer: Restorer) -> None:
    sample = Sample(photo(64, 64), None, None, 0)
    (row,) = measure_case(Case("real", lambda image, _: (image, None)), [sample], [ModelMethod(restorer, 1)])
    assert set(row.after) == {"blur", "noise"}
    assert "gain" not in row.to_json()


def test_extra_figures_are_of_the_unrounded_photo(restorer: Restorer, tmp_path: Path) -> None:
    path, case = write_jpeg(tmp_path / "a.jpg", 64, 64), next(list_cases("clean"))

    def off_grid(image: torch.Tensor) -> dict[str, float]:
        return {"off": float((image * 255 - (image * 255).round()).abs().max())}

    (row,) = measure_case(case, damage_photos(case, [path]), [ModelMethod(restorer, 1)], extra=off_grid)
    assert row.before["off"] < 1e-3 < row.after["off"]


def test_json_of_a_row(restorer: Restorer, tmp_path: Path) -> None:
    path, case = write_jpeg(tmp_path / "a.jpg", 64, 64), next(list_cases("jpeg"))
    (row,) = measure_case(case, damage_photos(case, [path]), [ModelMethod(restorer, 2)])
    figures = row.to_json()
    assert figures["case"] == "jpeg quality 10"
    assert figures["steps"] == 2
    assert isinstance(figures["steps"], int)
    assert figures["gain"] == pytest.approx(figures["psnr_after"] - figures["psnr_before"])
    assert {"ssim_before", "ssim_after", "gradient_after", "seconds"} <= set(figures)


def test_holes_that_nobody_told_of_are_looked_for_by_baselines_too() -> None:
    clean = photo(96, 96)
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 30:60, 40:70] = 1
    sample = Sample(torch.where(mask > 0, torch.ones(()), clean), clean, mask, 0)
    (telea,) = list_baselines(("inpainting",))
    case = Case("holes", lambda image, _: (image, None), inside_mask=True, kinds=("inpainting",))
    rows = measure_case(case, [sample], [ClassicalMethod(telea), ClassicalMethod(telea, give_mask=False)])
    assert all(row.psnr_after > row.psnr_before + 10 for row in rows)


def test_the_first_call_of_a_method_is_not_in_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first call imports packages and allocates; a clock that only the method moves shows what is counted."""
    clock_s = 0.0
    monkeypatch.setattr("model.evaluate.restoration.time.perf_counter", lambda: clock_s)

    class SlowStart:
        name = "slow start"

        def __init__(self) -> None:
            self.shapes: list[tuple[int, ...]] = []

        def restore(self, sample: Sample, case: Case) -> tuple[torch.Tensor, float | None]:
            nonlocal clock_s
            clock_s += 1.0 if self.shapes else 100.0
            assert sample.mask is not None
            assert sample.mask.shape[2:] == sample.damaged.shape[2:]
            self.shapes.append(tuple(sample.damaged.shape[2:]))
            return sample.damaged, None

    mask = torch.zeros(1, 1, 80, 96)
    samples = [Sample(photo(80, 96, seed), photo(80, 96, seed), mask, seed) for seed in range(2)]
    methods = [SlowStart(), SlowStart()]
    rows = measure_case(Case("case", lambda image, _: (image, None)), samples, methods)
    assert [(row.seconds, row.photos) for row in rows] == [(1.0, 2)] * 2
    assert [method.shapes for method in methods] == [[(64, 64), (80, 96), (80, 96)]] * 2
