"""A part that trains in microseconds: three weights that learn to be those of a line. Run it to train in a process."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from model.train.loop import RunOptions, TrainingStoppedError, run_training

TRUTH = torch.tensor([1.0, -2.0, 0.5])


class ToyTask:
    """Linear regression, with ways to disturb it.

    Args:
        signal_at: Step at whose batch this process sends itself `signal_number`.
        nan_at: Step whose loss is NaN.
        marker: File written at step 3, so that a parent process knows that training is under way.
    """

    name = "toy"
    progress = 0.0

    def __init__(
        self,
        signal_at: int | None = None,
        nan_at: int | None = None,
        marker: Path | None = None,
        signal_number: int = signal.SIGTERM,
    ) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Dropout(0.2), nn.Linear(3, 1))
        self.signal_at, self.nan_at, self.marker, self.signal_number = signal_at, nan_at, marker, signal_number
        self.step, self.evaluated = 0, torch.zeros(0)
        self.seen: list[torch.Tensor] = []  # the weights at the beginning of every step

    def batch(self, step: int, generator: torch.Generator) -> torch.Tensor:
        self.step = step
        if step == self.signal_at:
            os.kill(os.getpid(), self.signal_number)
        if step == 3 and self.marker is not None:
            self.marker.write_text("training", encoding="utf-8")
        return torch.randn(16, 3, generator=generator)

    def count(self, batch: torch.Tensor) -> int:
        """Images in a batch."""
        return len(batch)

    def loss(self, batch: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        self.seen.append(self.weight())
        noise = 0.1 * torch.randn(16, generator=generator)
        error = (self.module(batch)[:, 0] - batch @ TRUTH - noise).square().mean()
        if self.step == self.nan_at:
            error = error * torch.nan
        return error, {"error": float(error.detach())}

    def evaluate(self) -> dict[str, float]:
        self.evaluated = self.weight()
        return {"distance": float((self.evaluated - TRUTH).norm())}

    def sample(self, folder: Path, step: int) -> None:
        (folder / f"sample_{step:06d}.txt").write_text(str(self.weight().tolist()), encoding="utf-8")

    def save(self, folder: Path) -> None:
        save_file(
            {name: value.detach().clone() for name, value in self.module.state_dict().items()},
            folder / "toy.safetensors",
        )

    def weight(self) -> torch.Tensor:
        return self.module.get_parameter("2.weight").detach().flatten().clone()


if __name__ == "__main__":
    out, file = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        run_training(ToyTask(marker=file), RunOptions(out, time_budget_s=120), Console(quiet=True))
    except TrainingStoppedError as stopped:
        sys.exit(128 + stopped.signal_number)
