"""The training loop: ends when it should, goes on where it stopped, and loses nothing when it is told to stop."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file

from model.errors import ModelError
from model.train.loop import RunOptions, TrainingStoppedError, run_training
from tests.unit.model.train.toy import TRUTH, ToyTask

QUIET = Console(quiet=True)


def train(task: ToyTask, out: Path, steps: int, **options: Any) -> dict[str, float]:
    return run_training(task, RunOptions(out, steps=steps, learning_rate=0.05, warmup_steps=5, **options), QUIET)


def counters(out: Path) -> str:
    with safe_open(out / "training" / "toy" / "state.safetensors", framework="pt") as archive:
        return str(archive.metadata()["counters"])


def test_a_run_learns_and_writes_its_files(tmp_path: Path) -> None:
    task = ToyTask()
    figures = train(task, tmp_path, 300, ema_decay=0.9)
    assert figures["distance"] < 1.0 < float(TRUTH.norm())
    folder = tmp_path / "training" / "toy"
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names == {"state.safetensors", "metrics.csv", "sample_000300.txt", "toy.safetensors"}
    assert '"step": 300' in counters(tmp_path)
    rows = list(csv.reader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["step", "elapsed_s", "name", "value"]
    assert rows[-1][0] == "300"
    assert rows[-1][2] == "distance"
    assert float(rows[-1][3]) == pytest.approx(figures["distance"])


def test_averaged_weights_are_measured_and_saved(tmp_path: Path) -> None:
    task = ToyTask()
    train(task, tmp_path, 40, ema_decay=0.99)
    saved = load_file(tmp_path / "toy.safetensors")["2.weight"].flatten()
    state = load_file(tmp_path / "training" / "toy" / "state.safetensors")
    assert torch.equal(task.evaluated, saved)
    assert torch.equal(state["ema.2.weight"].flatten(), saved)
    last = state["module.2.weight"].flatten()
    assert not torch.allclose(last, saved)
    average = task.seen[0]
    for step, weight in enumerate([*task.seen[1:], last]):
        decay = min(0.99, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(saved, average)


@pytest.mark.parametrize("stop", [0, 2, 5])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, stop: int, number: int) -> None:
    whole = ToyTask()
    train(whole, tmp_path / "whole", 9)
    handler = signal.getsignal(number)
    with pytest.raises(TrainingStoppedError, match=f"stopped at step {stop + 1}, the state is saved") as caught:
        train(ToyTask(signal_at=stop, signal_number=number), tmp_path / "parts", 9)
    assert caught.value.signal_number == number
    assert signal.getsignal(number) is handler
    assert f'"step": {stop + 1}' in counters(tmp_path / "parts")
    resumed = ToyTask()
    train(resumed, tmp_path / "parts", 9)
    rows = (tmp_path / "parts" / "training" / "toy" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "9"]
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(resumed.module.state_dict()[name], value, rtol=0, atol=1e-7)


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    first, again = ToyTask(), ToyTask()
    train(first, tmp_path, 4)
    train(again, tmp_path, 4)
    assert torch.equal(first.weight(), again.weight())


def test_seeds_give_different_runs_and_the_same_seed_the_same(tmp_path: Path) -> None:
    tasks = [ToyTask() for _ in range(3)]
    for index, (task, seed) in enumerate(zip(tasks, (1, 1, 2), strict=True)):
        train(task, tmp_path / str(index), 6, seed=seed)
    assert torch.equal(tasks[0].weight(), tasks[1].weight())
    assert not torch.equal(tasks[0].weight(), tasks[2].weight())


def test_a_time_budget_ends_on_time(tmp_path: Path) -> None:
    started = time.monotonic()
    run_training(ToyTask(), RunOptions(tmp_path, time_budget_s=0.5), QUIET)
    elapsed = time.monotonic() - started
    assert 0.5 <= elapsed < 20  # generous: the machine may be busy
    again = time.monotonic()
    run_training(ToyTask(), RunOptions(tmp_path, time_budget_s=0.5), QUIET)  # the budget is spent
    assert time.monotonic() - again < 20
    assert counters(tmp_path).count("elapsed_s") == 1


def test_checkpoints_and_figures_come_while_training(tmp_path: Path) -> None:
    task = ToyTask()
    run_training(task, RunOptions(tmp_path, steps=5, save_every_s=0, evaluate_every_s=0), QUIET)
    samples = sorted(path.name for path in (tmp_path / "training" / "toy").glob("sample_*"))
    assert samples == [f"sample_{step:06d}.txt" for step in range(1, 6)]


def test_a_gradient_that_is_no_number_is_skipped(tmp_path: Path) -> None:
    task = ToyTask(nan_at=3)
    figures = train(task, tmp_path, 200, ema_decay=0.9)
    assert bool(torch.isfinite(task.weight()).all())
    assert figures["distance"] < float(TRUTH.norm())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions_train(tmp_path: Path, precision: str) -> None:
    figures = train(ToyTask(), tmp_path, 100, ema_decay=0.9, precision=precision)
    assert figures["distance"] < float(TRUTH.norm())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "either a number of steps or a time budget"),
        ({"steps": 3, "time_budget_s": 4.0}, "either a number of steps or a time budget"),
        ({"steps": 3, "precision": "fp8"}, "'fp8': expected fp32 or bf16"),
        ({"steps": 0}, "at least"),
        ({"steps": -4}, "at least"),
        ({"time_budget_s": 0.0}, "at least|more than"),
        ({"time_budget_s": -1.0}, "at least|more than"),
    ],
)
def test_options_that_make_no_run_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        RunOptions(tmp_path, **values)


def test_share_of_a_run_that_is_done(tmp_path: Path) -> None:
    by_steps, by_time = RunOptions(tmp_path, steps=8), RunOptions(tmp_path, time_budget_s=20.0)
    assert [by_steps.fraction(step, 1000.0) for step in (0, 2, 8, 9)] == [0, 0.25, 1, 1]
    assert [by_time.fraction(5, seconds) for seconds in (0.0, 5.0, 20.0, 30.0)] == [0, 0.25, 1, 1]


def test_a_process_that_is_told_to_stop_saves_its_state(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    command = [sys.executable, "-m", "tests.unit.model.train.toy", str(tmp_path / "out"), str(marker)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 180
        while not marker.exists():
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        output, _ = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM, output
    assert '"step": ' in counters(tmp_path / "out")
    assert not (tmp_path / "out" / "toy.safetensors").exists()  # nobody takes a half-trained part for a whole one
