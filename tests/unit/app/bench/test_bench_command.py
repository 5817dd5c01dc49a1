"""`vlmir bench` says what is wrong before it measures anything, and writes what it measured."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from app.commands.bench import app
from app.exit_codes import EXIT_FAILED


def test_an_unknown_model_is_a_sentence() -> None:
    for command in ("network", "engine"):
        result = CliRunner().invoke(app, [command, "--model", "nope"])
        assert result.exit_code == EXIT_FAILED
        assert "'nope'" in result.output
        assert "Traceback" not in result.output


def test_a_service_that_is_not_there_is_a_sentence() -> None:
    result = CliRunner().invoke(app, ["service", "http://127.0.0.1:1"])
    assert result.exit_code == EXIT_FAILED
    assert "vlmir:" in result.output


def test_an_unknown_size_is_refused_before_anything_is_sent() -> None:
    result = CliRunner().invoke(app, ["service", "http://127.0.0.1:1", "--large", "24mp"])
    assert result.exit_code == 2
    assert "24 MP" in result.output


def test_figures_are_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    result = CliRunner().invoke(
        app, ["network", "--model", "tiny", "--batches", "1,2", "--rounds", "1", "--json", str(path)]
    )
    assert result.exit_code == 0, result.output
    assert [row["batch"] for row in json.loads(path.read_text())["network"]] == [1, 2]
    options = ["--model", "tiny", "--jobs", "2", "--side", "64", "--steps", "1", "--batch-tiles", "2", "--rounds", "1"]
    result = CliRunner().invoke(app, ["engine", *options, "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert set(json.loads(path.read_text())["engine"]) == {"batch_tiles", "equal", "mixed"}
    assert "step-level batching" in result.output
