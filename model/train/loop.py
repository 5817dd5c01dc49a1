"""The one training loop: schedule, EMA, progress, CSV, checkpoints, resume. What is learnt comes from a task.

New material of every batch is drawn from a generator seeded by (seed, step). What a task remembers of earlier batches
(replayed features, regions) is not part of the saved state and fills up again after a resume.
"""

from __future__ import annotations

import csv
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from torch import nn

from model.errors import ModelError
from model.train.meter import Meter, describe
from model.train.state import ExponentialMovingAverage, load_state, restore_parameters, save_state


class TrainingTask(Protocol):
    """What the loop needs to know of the part being trained."""

    name: str
    progress: float  # share of the run that is done, set by the loop before every batch

    @property
    def module(self) -> nn.Module:
        """What is optimised: its parameters that require gradients."""

    def batch(self, step: int, generator: torch.Generator) -> Any:
        """Inputs of one step (runs in a background thread on a GPU)."""

    def count(self, batch: Any) -> int:
        """Images (or pairs) in a batch."""

    def loss(self, batch: Any, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Loss to minimise and figures worth logging."""

    def evaluate(self) -> dict[str, float]:
        """Held-out figures; called with the averaged weights in place."""

    def sample(self, folder: Path, step: int) -> None:
        """Write pictures or texts that show what the part does by now."""

    def save(self, folder: Path) -> None:
        """Write the part's weights into a model folder."""


class TrainingStoppedError(ModelError):
    """A run was asked to stop before its end; its state is saved.

    Attributes:
        signal_number: Which signal asked.
    """

    def __init__(self, name: str, step: int, signal_number: int) -> None:
        super().__init__(f"{name}: stopped at step {step}, the state is saved; give the same command again to go on")
        self.signal_number = signal_number


@dataclass(frozen=True)
class RunOptions:
    """How long and how to train.

    Attributes:
        out: Model folder; the run keeps its state below `out/training`.
        steps: Number of steps; None when a time budget rules.
        time_budget_s: Seconds of training; the schedule ends on time. None when steps rule.
        learning_rate: Peak of the warm-up + cosine schedule.
        weight_decay: AdamW's.
        ema_decay: Of the averaged weights, which are what is saved.
        clip_norm: Largest gradient norm.
        seed: Of everything random.
        save_every_s: Seconds between checkpoints.
        evaluate_every_s: Seconds between held-out figures and samples.
        precision: "fp32" or "bf16" (autocast).
    """

    out: Path
    steps: int | None = None
    time_budget_s: float | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    seed: int = 0
    save_every_s: float = 60
    evaluate_every_s: float = 600
    precision: str = "fp32"
    warmup_steps: int = 200

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.time_budget_s is None):
            raise ModelError("give either a number of steps or a time budget, not both and not neither")
        if (self.steps is not None and self.steps < 1) or (self.time_budget_s is not None and self.time_budget_s <= 0):
            raise ModelError(
                f"got {self.steps} steps, {self.time_budget_s} s: expected at least one step or more than no time"
            )
        if self.precision not in ("fp32", "bf16"):
            raise ModelError(f"precision {self.precision!r}: expected fp32 or bf16")

    def fraction(self, step: int, elapsed_s: float) -> float:
        """How much of the run is done, 0..1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, elapsed_s / (self.time_budget_s or 1.0))


def run_training(task: TrainingTask, options: RunOptions, console: Console | None = None) -> dict[str, float]:
    """Train to the end of the schedule, then save; returns the last held-out figures.

    Raises:
        TrainingStoppedError: SIGTERM or Ctrl-C came; the state is saved, and the same call goes on from there.
    """
    console = console or Console()
    parameters = [value for value in task.module.parameters() if value.requires_grad]
    device = parameters[0].device
    decayed = [value for value in parameters if value.ndim > 1]
    plain = [value for value in parameters if value.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=options.learning_rate,
        betas=(0.9, 0.99),
    )
    ema = ExponentialMovingAverage(task.module, options.ema_decay)
    folder = options.out / "training" / task.name
    folder.mkdir(parents=True, exist_ok=True)
    state_path = folder / "state.safetensors"
    counters: dict[str, float] = {"step": 0, "elapsed_s": 0.0}
    if state_path.is_file():
        counters = load_state(state_path, task.module, optimizer, ema)
        console.print(f"resuming {task.name} at step {int(counters['step'])}, {counters['elapsed_s']:.0f} s trained")
    step, elapsed = int(counters["step"]), counters["elapsed_s"]
    log = _CsvLog(folder / "metrics.csv")
    figures: dict[str, float] = {}
    smooth: float | None = None
    clock = time.monotonic()
    meter = Meter(device)
    last_print = last_save = last_evaluation = elapsed
    task.module.train()
    task.progress = options.fraction(step, elapsed)  # before the first batches are asked for
    with _stop_on_signal() as stopped, _batches(task, step, options.seed, device) as batches:
        while options.fraction(step, elapsed) < 1.0 and not stopped:
            task.progress = options.fraction(step, elapsed)
            rate = _learning_rate(options, step, options.fraction(step, elapsed))
            for group in optimizer.param_groups:
                group["lr"] = rate
            generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
            torch.manual_seed(options.seed * 1_000_003 + 250_000_000 + step)  # dropout draws from the global generator
            with meter.waiting():
                batch = next(batches)
            meter.count(task.count(batch))
            with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
                loss, parts = task.loss(batch, generator)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            norm = nn.utils.clip_grad_norm_(parameters, options.clip_norm)
            if bool(torch.isfinite(norm)):
                optimizer.step()
            ema.update(task.module, step)
            step += 1
            now = time.monotonic()
            elapsed, clock = elapsed + now - clock, now
            value = float(loss.detach())
            # after a loss that is no number the average starts anew
            smooth = value if smooth is None or not math.isfinite(smooth) else 0.98 * smooth + 0.02 * value
            if elapsed - last_print >= 10:
                speed = meter.read()
                _report(console, task.name, step, elapsed, smooth, rate, options, counters, speed)
                row = {"step": step, "elapsed_s": round(elapsed, 1), "loss": smooth, "learning_rate": rate}
                log.write({**row, **parts, **speed})
                last_print = elapsed
            if elapsed - last_save >= options.save_every_s:
                save_state(state_path, task.module, optimizer, ema, {"step": step, "elapsed_s": elapsed})
                last_save = elapsed
            if elapsed - last_evaluation >= options.evaluate_every_s:
                figures = _evaluate(task, ema, folder, step, console)
                log.write({"step": step, "elapsed_s": round(elapsed, 1), **figures})
                last_evaluation, clock = elapsed, time.monotonic()
                meter = Meter(device)
    save_state(state_path, task.module, optimizer, ema, {"step": step, "elapsed_s": elapsed})
    if stopped:
        raise TrainingStoppedError(task.name, step, stopped[0])
    if step:
        figures = _evaluate(task, ema, folder, step, console)
        log.write({"step": step, "elapsed_s": round(elapsed, 1), **figures})
    ema.copy_to(task.module)
    task.save(options.out)
    return figures


def _learning_rate(options: RunOptions, step: int, fraction: float) -> float:
    warm = min(1.0, (step + 1) / options.warmup_steps)
    return options.learning_rate * warm * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * fraction)))


def _evaluate(
    task: TrainingTask, ema: ExponentialMovingAverage, folder: Path, step: int, console: Console
) -> dict[str, float]:
    backup = ema.copy_to(task.module)
    task.module.eval()
    with torch.inference_mode():
        figures = task.evaluate()
        task.sample(folder, step)
    task.save(folder)
    task.module.train()
    restore_parameters(task.module, backup)
    console.print(f"{task.name} step {step}: " + "  ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    return figures


def _report(
    console: Console,
    name: str,
    step: int,
    elapsed: float,
    smooth: float,
    rate: float,
    options: RunOptions,
    start: dict[str, float],
    speed: dict[str, float],
) -> None:
    per_s = (step - start["step"]) / max(1e-9, elapsed - start["elapsed_s"])
    done = options.fraction(step, elapsed)
    left = (options.steps - step) / per_s if options.steps else (options.time_budget_s or 0) - elapsed
    bar = "#" * int(20 * done) + "-" * (20 - int(20 * done))
    console.print(
        f"{name} [{bar}] {100 * done:5.1f} %  step {step}  loss {smooth:.4f}  lr {rate:.2e}  {per_s:.2f} steps/s  "
        f"{describe(speed)}  {left / 60:.1f} min left",
        markup=False,
        highlight=False,
    )


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    stopped: list[int] = []
    previous = {
        number: signal.signal(number, lambda got, _: stopped.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _batches(task: TrainingTask, first: int, seed: int, device: torch.device) -> Iterator[Iterator[Any]]:
    """Batches in step order; prepared ahead in threads when a GPU would otherwise wait."""

    def make(step: int) -> Any:
        return task.batch(step, torch.Generator().manual_seed(seed * 1_000_003 + 500_000_000 + step))

    workers = 6 if device.type == "cuda" else 0

    def produce(pool: ThreadPoolExecutor | None) -> Iterator[Any]:
        if pool is None:
            step = first
            while True:
                yield make(step)
                step += 1
        pending = [pool.submit(make, first + ahead) for ahead in range(2 * workers)]
        step = first + len(pending)
        while True:
            yield pending.pop(0).result()
            pending.append(pool.submit(make, step))
            step += 1

    if not workers:
        yield produce(None)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield produce(pool)
        pool.shutdown(cancel_futures=True)


class _CsvLog:
    """Appends rows to a long-format CSV (step, elapsed_s, name, value), and to TensorBoard where it is installed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board: Any = None
        else:
            self._board = SummaryWriter(path.parent / "tensorboard")

    def write(self, row: dict[str, float]) -> None:
        new = not self._path.is_file()
        step, elapsed = int(row["step"]), row["elapsed_s"]
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "elapsed_s", "name", "value"])
            for name, value in row.items():
                if name not in ("step", "elapsed_s"):
                    writer.writerow([step, elapsed, name, value])
                    if self._board is not None:
                        self._board.add_scalar(name, value, step)
