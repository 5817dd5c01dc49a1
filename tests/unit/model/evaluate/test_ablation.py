"""Ablations: each changes what it says and nothing else, and the whole table repeats itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from statistics import fmean

import pytest
import torch

from model.degradation.kinds import KINDS, kind_index
from model.diffusion.context import GuidanceFeatures
from model.errors import ModelError, UnknownKindError
from model.evaluate.ablation import (
    ABLATIONS,
    Row,
    measure_ablations,
    observe_scenes,
    with_caption,
    with_true_degradation,
    without_caption,
    without_degradation,
    without_visual,
)
from model.evaluate.damaged import damage_photo
from model.pipeline import Restorer
from tests.unit.model.samples import features, photo, write_data

TWO = ("noise", "inpainting")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = write_data(tmp_path_factory.mktemp("photos"), 3, 64)
    return sorted(folder.glob("*.jpg"))


def changed(before: GuidanceFeatures, after: GuidanceFeatures) -> set[str]:
    return {
        item.name
        for item in dataclasses.fields(before)
        if not torch.equal(getattr(before, item.name), getattr(after, item.name))
    }


def test_each_ablation_changes_its_own_part_alone(restorer: Restorer) -> None:
    own, neutral = (features(restorer.config, seed=seed).select(torch.tensor([0])) for seed in (1, 2))
    assert changed(own, without_caption(own)) == {"caption", "has_caption"}
    assert changed(own, without_visual(own, neutral)) == {"content", "patches"}
    assert changed(own, without_degradation(own, neutral)) == {"degradation", "severities"}
    assert changed(own, with_caption(restorer, own, "word1 word2")) == {"caption"}
    true = with_true_degradation(own, restorer.guidance.predictor, "rain", 0.5)
    assert changed(own, true) == {"degradation", "severities"}


@torch.no_grad()
def test_oracle_is_read_as_the_truth_and_moves_no_further_than_needed(restorer: Restorer) -> None:
    predictor = restorer.guidance.predictor
    own = restorer.observe(photo()).features
    for kind in KINDS:
        true = with_true_degradation(own, predictor, kind, 0.7)
        names = torch.nn.functional.normalize(predictor.get_buffer("names") + predictor.name_shift, dim=-1)
        read = (predictor.log_scale.exp() * true.degradation @ names.T + predictor.bias).sigmoid()[0]
        assert read[kind_index(kind)] > 0.95
        assert read.sum() - read[kind_index(kind)] < 0.05 * len(KINDS)
        assert true.severities[0, kind_index(kind)] == pytest.approx(0.7)
        assert true.severities.sum() == pytest.approx(0.7)
        again = with_true_degradation(true, predictor, kind, 0.7)
        torch.testing.assert_close(again.degradation, true.degradation, rtol=0, atol=1e-4)


def test_table_has_a_number_per_cell_and_repeats_itself(restorer: Restorer, paths: list[Path]) -> None:
    def table() -> list[Row]:
        return list(measure_ablations(restorer, paths, observe_scenes(restorer, paths, TWO, 0.5)))

    rows = table()
    assert [row.name for row in rows] == ["damaged", *ABLATIONS]
    for row in rows:
        assert set(row.psnr) == set(TWO)
        assert row.mean == pytest.approx(fmean(row.psnr.values()))
    assert table() == rows
    by_name = {row.name: row.psnr for row in rows}
    for name in set(by_name) - {"all", "damaged"}:
        assert by_name[name] != by_name["all"], f"{name} changes nothing"


def test_all_is_the_restoration_itself(restorer: Restorer, paths: list[Path]) -> None:
    scenes = observe_scenes(restorer, paths, ["inpainting"], 0.5, crop_px=48)
    rows = {row.name: row for row in measure_ablations(restorer, paths, scenes, steps=2, crop_px=48)}
    expected = []
    for index, path in enumerate(paths):
        damaged = damage_photo(path, "inpainting", 0.5, index, crop_px=48)
        result = restorer.restore(damaged.image, steps=2, seed=index, mask=damaged.mask)
        expected.append(damaged.score(result.image))
    assert rows["all"].psnr["inpainting"] == pytest.approx(fmean(expected))


def test_captions_of_others_are_others(restorer: Restorer, paths: list[Path]) -> None:
    (row,) = observe_scenes(restorer, paths, ["noise"], 0.5).values()
    captions = [scene.seen.caption for scene in row]
    for scene in row:
        assert scene.other_caption in captions
        assert (scene.other_caption == scene.seen.caption) == (len(set(captions)) == 1)
        assert scene.human_caption


def test_what_cannot_be_made_leaves_its_cells_empty(restorer: Restorer, paths: list[Path], tmp_path: Path) -> None:
    vlm = dataclasses.replace(restorer.config.vlm, decoder_layers=0)
    silent = Restorer.random(dataclasses.replace(restorer.config, vlm=vlm))
    bare = [tmp_path / path.name for path in paths[:2]]  # no captions.tsv beside them
    for source, target in zip(paths, bare, strict=False):
        target.write_bytes(source.read_bytes())
    rows = {row.name: row for row in measure_ablations(silent, bare, observe_scenes(silent, bare, ["noise"], 0.5))}
    for name in ("wrong caption", "oracle caption"):
        assert rows[name].psnr == {}
        assert rows[name].mean is None
    assert rows["no linguistic"].psnr == rows["all"].psnr


def test_one_photo_and_unknown_kinds_are_refused(restorer: Restorer, paths: list[Path]) -> None:
    with pytest.raises(ModelError, match="expected at least 2"):
        observe_scenes(restorer, paths[:1])
    with pytest.raises(UnknownKindError, match="fog"):
        observe_scenes(restorer, paths, ["fog"])
