"""The mean of two restorers."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from model.checkpoint import ModelFolder
from model.config import load_config, save_config
from model.errors import ConfigError
from model.pipeline import Restorer
from model.train.average import average_restorers
from model.train.command import app
from tests.support.workers import write_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return write_model(folder / "a", seed=1), write_model(folder / "b", seed=2)


def test_mean_of_the_restorers_with_stage_one_of_the_first(models: tuple[Path, Path], tmp_path: Path) -> None:
    average_restorers(*models, 0.25, tmp_path / "mean")
    mean, first, second = (Restorer.load(path) for path in (tmp_path / "mean", *models))
    rows = zip(*(item.network.state_dict().items() for item in (mean, first, second)), strict=True)
    for (name, value), (_, one), (_, other) in rows:
        torch.testing.assert_close(value, 0.75 * one + 0.25 * other, rtol=2e-3, atol=1e-4, msg=name)
    for name, value in mean.guidance.state_dict().items():
        assert torch.equal(value, first.guidance.state_dict()[name]), name


def test_share_and_folders_are_checked(models: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="share"):
        average_restorers(*models, 1.5, tmp_path / "mean")
    with pytest.raises(ConfigError, match="new folder"):
        average_restorers(*models, 0.5, models[0])


def test_networks_of_different_shape_have_no_mean(models: tuple[Path, Path], tmp_path: Path) -> None:
    config = load_config("small")
    with torch.random.fork_rng(devices=[]):
        restorer = Restorer.random(config)
    ModelFolder(tmp_path / "other").save_part(config, "restorer", restorer.network)
    with pytest.raises(ConfigError, match="different shape"):
        average_restorers(models[0], tmp_path / "other", 0.5, tmp_path / "mean")


def write_copy(source: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a model, its configuration changed."""
    shutil.copytree(source, folder)
    config = dataclasses.replace(ModelFolder(source).load_config(), **changes)
    save_config(config, folder / "config.json")
    return folder


def test_networks_for_different_bridges_have_no_mean(models: tuple[Path, Path], tmp_path: Path) -> None:
    bridge = ModelFolder(models[0]).load_config().diffusion
    for name, change in (("louder", {"noise_level": 25.0}), ("linear", {"schedule": "linear"})):
        other = write_copy(models[0], tmp_path / name, diffusion=dataclasses.replace(bridge, **change))
        with pytest.raises(ConfigError, match="different bridges"):
            average_restorers(models[0], other, 0.5, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
    other = write_copy(models[0], tmp_path / "stochastic", diffusion=dataclasses.replace(bridge, stochastic=True))
    assert average_restorers(models[0], other, 0.5, tmp_path / "mean") == []


def test_another_stage_one_or_tile_is_told(models: tuple[Path, Path], tmp_path: Path) -> None:
    (doubt,) = average_restorers(*models, 0.5, tmp_path / "mean")
    assert "another stage one (vlm, lora, predictor)" in doubt
    other = write_copy(models[0], tmp_path / "b", tile_px=128)
    for name in ("predictor.safetensors",):
        shutil.copy(models[1] / name, other / name)
    stage_one, tiles = average_restorers(models[0], other, 0.5, tmp_path / "again")
    assert "(predictor)" in stage_one
    assert "128 px" in tiles
    result = CliRunner().invoke(app, ["average", str(models[0]), str(other), "--out", str(tmp_path / "third")])
    assert result.exit_code == 0, result.output
    assert "warning: " in result.output
