"""Networks of different shape are compared on the same photos, and each differs from the base where it says so only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.errors import ConfigError
from model.pipeline import Restorer
from model.train.loop import RunOptions
from model.train.photos import Photo
from model.train.restorer import RestorerTask
from model.train.variants import compare, read_variants, table

WIDER = {"network": {"widths": [16, 24]}}


def write(folder: Path, values: object) -> Path:
    path = folder / "variants.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.fixture
def make_task(restorer: Restorer, photos: list[Photo]) -> Callable[[ModelConfig], RestorerTask]:
    first = RestorerTask(restorer.guidance, photos[:6], photos[6:], torch.device("cpu"), ("noise",))

    def make(config: ModelConfig) -> RestorerTask:
        return RestorerTask(
            restorer.guidance,
            photos[:6],
            photos[6:],
            torch.device("cpu"),
            ("noise",),
            config=config,
            regions=first.regions,
        )

    return make


def test_variants_are_trained_alike_and_reported(
    restorer: Restorer, make_task: Callable[[ModelConfig], RestorerTask], tmp_path: Path
) -> None:
    variants = read_variants(write(tmp_path, {"as it is": {}, "wider": WIDER}), restorer.config, tmp_path / "runs")
    options = RunOptions(tmp_path / "runs", steps=2, warmup_steps=1)
    base, wider = compare(variants, make_task, options)
    assert (base.name, wider.name) == ("as it is", "wider")
    assert base.steps == wider.steps == 2
    assert base.parameters == sum(value.numel() for value in restorer.network.parameters())
    assert wider.parameters > base.parameters
    assert wider.gigaflop > base.gigaflop > 0
    assert base.tile_ms > 0
    lines = table([base, wider]).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert f"| {base.figures['psnr_noise']:.2f} |" in lines[2]


def test_a_variant_changes_what_it_names_and_nothing_else(restorer: Restorer, tmp_path: Path) -> None:
    change = {"diffusion": {"noise_level": 25.0}, **WIDER}
    config = read_variants(write(tmp_path, {"a": change}), restorer.config, tmp_path)["a"]
    assert config.network.widths == (16, 24)
    assert config.diffusion.noise_level == 25.0
    assert config.network.blocks == restorer.config.network.blocks
    assert config.vlm == restorer.config.vlm


def test_a_name_whose_shape_changed_is_refused(restorer: Restorer, tmp_path: Path) -> None:
    read_variants(write(tmp_path, {"a": WIDER}), restorer.config, tmp_path)
    read_variants(write(tmp_path, {"a": WIDER}), restorer.config, tmp_path)
    with pytest.raises(ConfigError, match="an earlier run of 'a' was of another shape"):
        read_variants(write(tmp_path, {"a": {}}), restorer.config, tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "expected an object of name to changed fields"),
        ({}, "expected an object of name to changed fields"),
        ({"a": {"vlm": {}}}, "variant 'a': expected an object with network and diffusion only"),
        ({"a": {"network": {"width": 3}}}, "unknown keys"),
        ({"a": {"network": [1]}}, "variant 'a': expected objects of changed fields in network"),
        ({"a": {"network": {"visual_pool": 1}}}, "visual_pool is shared, it must stay 2"),
    ],
)
def test_files_that_do_not_fit_are_refused(restorer: Restorer, tmp_path: Path, values: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_variants(write(tmp_path, values), restorer.config, tmp_path)


def test_a_file_that_is_not_json_is_refused(restorer: Restorer, tmp_path: Path) -> None:
    path = tmp_path / "variants.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        read_variants(path, restorer.config, tmp_path)
