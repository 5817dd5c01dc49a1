"""`vlmir eval`: tables on the screen, the same figures as JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
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
    strips = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert len(strips) == 8
    assert strips[:2] == ["clean_clean_0.jpg", "clean_clean_1.jpg"]


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
        (("--model", "tiny", "--suite", "deblur"), "expected one of ten, denoise, jpeg, clean"),
        (("--model", "tiny", "--steps", "0"), "got 0 steps, expected 1 to 100"),
        (("--model", "tiny", "--steps", "many"), "expected whole numbers, comma-separated"),
    ],
)
def test_mistakes_are_explained(data: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call("restore", "--data", data, *arguments)
    assert result.exit_code == 2, repr(result.exception)
    assert message in " ".join(result.output.replace("│", " ").split())


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_eval_alone_is_restore_and_writes_a_report(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    arguments = ("--data", data, "--model", "tiny", "--limit", 1, "--only", "noise", "--report", out)
    result = call(*arguments, "--suite", "ten,denoise")
    assert result.exit_code == 0, result.output
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    ten = found["suites"]["ten"]
    assert [(row["case"], row["method"]) for row in ten["rows"]] == [
        (f"noise {severity:g}", method) for severity in (0.25, 0.5, 0.75) for method in ("model", "non-local means")
    ]
    assert all(row["tflop_per_megapixel"] > 0 for row in ten["rows"] if row["method"] == "model")
    assert set(ten["missing"]) == {"LPIPS", "FID", "BM3D"}
    assert all((out / picture["file"]).is_file() for suite in found["suites"].values() for picture in suite["pictures"])
    assert len(found["suites"]["denoise"]["pictures"]) == 3
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "noise sigma 25" in page
    assert "left out: LPIPS" in result.output

    call(*arguments, "--suite", "ten")
    again = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert without_seconds(again["suites"]["ten"]["rows"]) == without_seconds(ten["rows"])
    assert again["suites"]["denoise"] == found["suites"]["denoise"]


def test_steps_and_seams(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = call(
        "--data", data, "--model", "tiny", "--limit", 1, "--suite", "steps,seams", "--steps", "1,2", "--report", out
    )
    assert result.exit_code == 0, result.output
    suites = json.loads((out / "report.json").read_text(encoding="utf-8"))["suites"]
    assert [(row["case"], row["steps"]) for row in suites["steps"]["rows"]][:3] == [
        ("noise sigma 25", 1), ("noise sigma 25", 2), ("jpeg quality 20", 1),
    ]  # fmt: skip
    assert {"gradient_after", "psnr_after", "seconds"} <= set(suites["steps"]["rows"][0])
    assert [row["steps"] for row in suites["seams"]["rows"]] == [1, 2]
    assert abs(suites["seams"]["rows"][0]["seam_before"]) < 5
    assert suites["seams"]["data"] == []
    assert "% across tile borders" in result.output


def test_real_photos_from_a_folder_of_their_own(data: Path, tmp_path: Path) -> None:
    real, out = write_data(tmp_path / "real" / "haze", 2, 64).parent, tmp_path / "figures.json"
    found = figures(call("--real", real, "--suite", "real", "--model", "tiny", "--steps", 1, "--json", out), out)
    assert [(row["case"], row["photos"]) for row in found["rows"]] == [("haze", 2)]
    assert "psnr_after" not in found["rows"][0]
    result = call("--data", data, "--suite", "clean", "--model", "tiny", "--steps", 1, "--json", out)
    assert figures(result, out)["rows"][0]["case"] == "clean"


def test_ablation_is_a_suite_too(data: Path, tmp_path: Path) -> None:
    """The same table as `vlmir eval ablation`, in the report, on the screen and as JSON, at the same severity."""
    shared = ("--data", data, "--model", "tiny", "--limit", 2)
    alone = figures(call("ablation", *shared, "--json", tmp_path / "alone.json"), tmp_path / "alone.json")
    out = tmp_path / "figures.json"
    result = call(*shared, "--suite", "ablation", "--report", tmp_path / "out", "--json", out)
    found = figures(result, out)["ablation"]
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["suites"]["ablation"]["grid"] == found
    assert found.items() <= alone.items()
    assert found["rows"][1]["name"] == "all"
    assert "the wrong caption differs from the right one for" in result.output
    assert "damaged" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    again = figures(call(*shared, "--suite", "ablation", "--severity", "0.75", "--json", out), out)
    assert again["ablation"]["severity"] == 0.75


def test_only_keeps_what_fits_over_all_suites(data: Path, tmp_path: Path) -> None:
    arguments = ("--data", data, "--model", "tiny", "--limit", 1, "--steps", 1)
    out = tmp_path / "figures.json"
    found = figures(call(*arguments, "--suite", "jpeg,denoise", "--only", "sigma 25", "--json", out), out)
    assert [row["case"] for row in found["rows"]] == ["noise sigma 25"]


def test_a_report_keeps_the_cases_that_only_leaves_out(data: Path, tmp_path: Path) -> None:
    arguments = ("--data", data, "--model", "tiny", "--limit", 1, "--suite", "jpeg", "--report", tmp_path)
    assert call(*arguments, "--steps", 1).exit_code == 0
    result = call(*arguments, "--steps", 1, "--only", "quality 20")
    assert result.exit_code == 0, result.output
    section = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["suites"]["jpeg"]
    cases = list(dict.fromkeys(row["case"] for row in section["rows"]))
    assert cases == [f"jpeg quality {quality}" for quality in (10, 20, 30, 40)]
    refused = call(*arguments, "--steps", 2, "--only", "quality 20")
    assert refused.exit_code == 2
    assert "measured with other photos or options" in " ".join(refused.output.replace("│", " ").split())


def test_severity_zero_is_measured(data: Path, tmp_path: Path) -> None:
    result = call(
        "--data", data, "--model", "tiny", "--limit", 1, "--only", "inpainting", "--severity", "0,0.5",
        "--suite", "ten,mixtures", "--report", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, repr(result.exception)
    assert "inpainting 0 " in result.output


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_eval_asks_for_the_data_folder() -> None:
    """Dry runs: nothing is installed and nothing is measured."""
    root = Path(__file__).parents[4]
    dry = [subprocess.run(["make", "-n", "eval", f"DATA={text}"], cwd=root, capture_output=True, text=True, check=False)
           for text in ("", "DIR")]  # fmt: skip
    assert dry[0].returncode != 0
    assert "make eval DATA=" in dry[0].stderr
    assert dry[1].returncode == 0, dry[1].stderr
    assert "DIR/val/kodak24" in dry[1].stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite", "ten"), "give --data a folder of clean photos"),
        (("--suite", "real,nothing"), "'nothing': expected one of"),
        (("--suite", "ten", "--severity", "2"), "expected numbers from 0 to 1"),
        (("--suite", "ten", "--severity", "hard"), "expected numbers, comma-separated"),
        (("--data", "nowhere", "--model", "tiny"), "nowhere: no images found"),
    ],
)
def test_mistakes_of_the_short_form(arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2, repr(result.exception)
    assert message in " ".join(result.output.replace("│", " ").split())


def test_only_that_fits_nothing_is_explained(data: Path) -> None:
    result = call("--data", data, "--model", "tiny", "--only", "fire")
    assert "--only 'fire' is in none of their names" in " ".join(result.output.replace("│", " ").split())


def test_help_names_the_commands() -> None:
    for result in (call("--help"), call()):
        assert "Missing command" not in result.output
        assert all(name in result.output for name in ("restore", "guidance", "compute", "ablation", "budget"))
