"""`vlmir eval`: tables on the screen, the same figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import model.train.predictor
from model.evaluate.command import app
from tests.unit.model.samples import write_data


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def figures(result: Result, path: Path) -> dict[str, Any]:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "photos", 3, 64)


def test_restore(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    result = call(
        "restore", "--data", data, "--suite", "denoise,clean", "--model", "tiny", "--steps", "1,2", "--limit", 2,
        "--json", out, "--pictures", tmp_path / "pictures",
    )  # fmt: skip
    found = figures(result, out)
    assert [(row["case"], row["steps"]) for row in found["rows"]][-2:] == [("clean", 1), ("clean", 2)]
    assert len(found["rows"]) == 8
    assert all(row["photos"] == 2 for row in found["rows"])
    assert found["model"] == "tiny"
    assert "noise sigma 25" in result.output
    assert len(list((tmp_path / "pictures").iterdir())) == 8


def test_guidance(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.train.predictor, "REGION_PX", (40,))
    names, out = tmp_path / "held_out.txt", tmp_path / "figures.json"
    names.write_text("0.jpg\n2.jpg\n", encoding="utf-8")
    result = call(
        "guidance", "--captioned", data, "--held-out", names, "--data", data, "--model", "tiny", "--json", out
    )
    found = figures(result, out)
    assert {"recall@10", "cosine_before", "cosine_after", "macro_f1", "severity_error"} <= set(found)
    assert set(found["captions"]) == {"0.jpg", "2.jpg"}


def test_compute(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    found = figures(call("compute", "--model", "tiny", "--side", 70, "--json", out), out)
    assert {"fast", "balanced", "best", "company", "machine", "torch"} <= set(found)
    assert found["best"]["steps"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "no-such-model"), "no weights"),
        (("--model", "tiny", "--suite", "deblur"), "expected one of denoise, jpeg, ten, clean"),
        (("--model", "tiny", "--steps", "0"), "got 0 steps, expected 1 to 100"),
        (("--model", "tiny", "--steps", "many"), "expected whole numbers, comma-separated"),
    ],
)
def test_mistakes_are_explained(data: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call("restore", "--data", data, *arguments)
    assert result.exit_code == 2, repr(result.exception)
    assert message in " ".join(result.output.replace("│", " ").split())
