"""`vlmir bench` says what is wrong before it measures anything, and writes what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.bench import processes
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
    figures = json.loads(path.read_text())["engine"]
    assert set(figures) == {"batch_tiles", "equal", "mixed", "mixed_over_equal"}
    assert figures["mixed_over_equal"] > 0
    seconds = [way["seconds"] for way in figures["equal"]["ways"]]
    assert figures["equal"]["over_one_by_one"] == seconds[1] / seconds[0]
    assert "step-level batching" in result.output
    assert "goal at most 1.05" in result.output


def test_arrivals_are_served_by_four_policies_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.json"
    options = ["--largest", "thumbnail", "--jobs", "4", "--callers", "2", "--seconds", "3", "--loads", "0.5"]
    result = CliRunner().invoke(
        app, ["arrivals", "--model", "tiny", *options, "--steps", "1", "--skip-idle", "--json", str(path)]
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(path.read_text())["arrivals"]
    assert len(rows) == 2 * 4
    assert {row["load"] for row in rows} == {"closed loop, 2 callers", "Poisson, 50% of capacity"}
    result = CliRunner().invoke(app, ["plot", str(path), "--out", str(tmp_path / "charts")])
    assert result.exit_code == 0, result.output
    assert sorted(chart.name for chart in (tmp_path / "charts").iterdir()) == [
        "arrivals-latency-closed-loop-2-callers.png",
        "arrivals-latency-poisson-50-of-capacity.png",
        "arrivals-occupancy.png",
        "arrivals-throughput.png",
    ]


def test_invariance_is_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "invariance.json"
    options = ["--mixes", "3", "--photos", "3", "--side", "80", "--batch-tiles", "2", "--json", str(path)]
    result = CliRunner().invoke(app, ["invariance", "--model", "tiny", *options])
    assert result.exit_code == 0, result.output
    figures = json.loads(path.read_text())["invariance"]
    assert figures["mixes"] == 3
    assert figures["differing_share"] == figures["differing"] / figures["pixels"]


def test_options_that_make_no_sense_are_refused() -> None:
    for options, word in (
        (["arrivals", "--largest", "huge"], "thumbnail"),
        (["arrivals", "--loads", "0.6,much"], "numbers"),
        (["network", "--batches", "0"], "above 0"),
        (["service", "http://127.0.0.1:1", "--model", "nope"], "nope"),
    ):
        result = CliRunner().invoke(app, options)
        assert result.exit_code == 2
        assert word in result.output


@pytest.mark.slow
def test_events_are_followed_at_a_service_of_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMIR_WEBHOOK_SCHEDULE_S", "what the caller's service would not start with")
    options = ["--cuts", "1", "--at-once", "1", "--steps", "20", "--side", "16"]
    result = CliRunner().invoke(app, ["events", *options])
    assert result.exit_code == 0, result.output
    assert "events lost: 0 (goal 0)" in result.output


def test_a_service_that_does_not_start_in_time_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_S", 0.1)
    result = CliRunner().invoke(app, ["events", "--cuts", "1", "--at-once", "1", "--steps", "20", "--side", "16"])
    assert result.exit_code == EXIT_FAILED
    assert "The service did not start" in result.output
