"""`vlmir eval ablation|budget` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from model.evaluate.guidance_command import ablation, budget
from tests.unit.model.samples import write_data

app = typer.Typer()
app.command()(ablation)
app.command()(budget)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "photos", 3, 64)


def test_ablation(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    result = call(
        "ablation", "--data", data, "--model", "tiny", "--kinds", "rain,noise", "--limit", 2, "--crop", 48,
        "--json", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in found["rows"]}
    assert {"damaged", "all", "one token", "oracle degradation"} <= set(rows)
    assert list(rows["all"]["psnr"]) == ["rain", "noise"]
    assert (found["photos"], found["steps"], found["model"]) == (2, 1, "tiny")
    assert f"{rows['no visual']['mean']:.2f}" in result.output
    assert "wrong caption differs" in result.output
    assert list(found["rows"][0]) == ["name", "psnr", "mean"]
    assert found["severity"] == 0.5
    assert 0 <= found["wrong_captions"] <= 1


def test_budget(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    result = call(
        "budget", "--data", data, "--model", "tiny", "--kinds", "haze", "--severities", "0.4", "--steps", "1,3",
        "--limit", 1, "--json", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    clean, haze = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert (clean["kind"], haze["kind"], haze["severity"]) == ("clean", "haze", 0.4)
    assert set(haze["psnr"]) == set(haze["seconds"]) == {"1", "3"}
    assert f"{haze['psnr']['3']:.2f}" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ablation", "--kinds", "fog"), "unknown degradation 'fog'"),
        (("ablation", "--limit", "1"), "expected at least 2"),
        (("ablation", "--model", "no-such-model"), "no weights"),
        (("budget", "--kinds", ""), "unknown degradation ''"),
        (("budget", "--steps", "one"), "expected numbers, comma-separated, such as 1,4"),
        (("budget", "--steps", "0"), "got 0 steps, expected 1 to 100"),
        (("budget", "--severities", "0.5,2"), "expected 0..1"),
        (("budget", "--quality", "great"), "expected one of fast, balanced, best"),
    ],
)
def test_mistakes_are_explained(data: Path, arguments: tuple[str, ...], message: str) -> None:
    model = () if "--model" in arguments else ("--model", "tiny")
    result = call(arguments[0], "--data", data, *model, *arguments[1:])
    assert result.exit_code == 2, repr(result.exception)
    assert message in " ".join(result.output.replace("│", " ").split())
