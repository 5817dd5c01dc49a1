"""`vlmir train`: the three parts one after the other make a model that restores; mistakes are explained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from model.pipeline import Restorer
from model.train.command import app, parse_seconds, read_names, split_photos
from model.train.photos import Photo
from tests.unit.model.samples import photo


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def check(result: Result) -> None:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("25m", 1500), ("2h", 7200), ("1.5h", 5400), ("45", 45), (" 3 m ", 180), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5m", "5 d", "5m30s", "1e3", "five"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected a number with s, m or h"):
        parse_seconds(text)


def test_names_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("a.jpg\n\nb.jpg\n", encoding="utf-8")
    assert read_names(path) == {"a.jpg", "b.jpg"}
    assert read_names(None) == frozenset()


def test_every_twentieth_photo_is_held_out(photos: list[Photo]) -> None:
    trained, unseen = split_photos(photos * 5)
    assert len(unseen) == 2
    assert len(trained) == 38


@pytest.mark.usefixtures("small_regions")
def test_three_parts_make_a_model(data: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "model", tmp_path / "held_out.txt"
    names.write_text("6.jpg\n7.jpg\n", encoding="utf-8")
    common = ("--data", data, "--out", out, "--device", "cpu")
    early = call("restorer", *common, "--steps", 1)
    assert early.exit_code == 2
    assert "no config.json" in early.output
    check(call("vlm", *common, "--config", "tiny", "--steps", 2, "--batch-size", 3, "--held-out", names))
    check(call("predictor", *common, "--steps", 2, "--batch-size", 4, "--held-out", names, "--align-budget", "0.1s"))
    check(call("restorer", *common, "--steps", 2, "--kinds", "noise,jpeg", "--val-data", data))
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "manifest.json",
        "vocabulary.json",
        "vlm.safetensors",
        "lora.safetensors",
        "predictor.safetensors",
        "restorer.safetensors",
        "training",
    }
    result = Restorer.load(out).restore(photo(), steps=1)
    assert result.image.shape == (1, 3, 80, 96)

    again = tmp_path / "again"
    shutil.copytree(out, again, ignore=shutil.ignore_patterns("training", "restorer*"))
    resumed = ("--data", data, "--out", again, "--device", "cpu", "--val-data", data)
    check(call("restorer", *resumed, "--steps", 1, "--start-from", out, "--learning-rate", 1e-9))
    first, second = (load_file(folder / "restorer.safetensors") for folder in (out, again))
    assert all(torch.equal(first[name], second[name]) for name in first), "the run did not start from those weights"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vlm", "--config", "huge"), "'huge' not found"),
        (("vlm", "--config", "tiny", "--steps", 0, "--batch-size", 2), "at least one step"),
        (("vlm", "--config", "tiny", "--time-budget", "soon", "--batch-size", 2), "expected a number with s, m or h"),
        (("vlm", "--config", "tiny", "--precision", "fp8", "--batch-size", 2), "expected fp32 or bf16"),
        (("vlm", "--config", "tiny", "--batch-size", 500), "at least the batch size 500"),
        (("restorer", "--kinds", "noise,fog"), "unknown degradation 'fog'"),
        (("predictor", "--steps", 1), "no config.json"),
    ],
)
def test_mistakes_are_explained(data: Path, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    result = call(*arguments, "--data", data, "--out", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.replace("│", " ").split())


def test_folder_without_photos_is_explained(tmp_path: Path) -> None:
    result = call("vlm", "--data", tmp_path, "--out", tmp_path / "out", "--config", "tiny")
    assert result.exit_code == 2
    assert "no images found" in result.output
