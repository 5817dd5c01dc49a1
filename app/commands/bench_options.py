"""What the commands of `vlmir bench` share: their options, loading the model, writing figures."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.worker.runner import Runner

Model = Annotated[str, typer.Option(help="Name of a model, or a folder with one.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 takes torch's default.")]
Rounds = Annotated[int, typer.Option(min=1, help="Turns; figures are medians over them.")]
Steps = Annotated[int, typer.Option(min=1, help="Denoising steps of every photo.")]
BatchTiles = Annotated[
    int,
    typer.Option(min=0, help="Most tiles in one forward, rounded down to a power of two; 0: 8 on a CPU, 64 on CUDA."),
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]


def make_warm_runner(model: str, device: str, threads: int, batch_tiles: int) -> Runner:
    """A runner with the model loaded and the size of its batches measured, as in a worker.

    Raises:
        ServiceError: The model cannot be loaded or run.
    """
    from app.images import ImageLimits
    from app.worker.runner import Runner

    runner = Runner(model, device, threads, batch_tiles, ImageLimits())
    runner.load()
    runner.warm_up()
    return runner


def parse_numbers(text: str) -> list[float]:
    """Numbers from an option, comma-separated.

    Raises:
        typer.BadParameter: It holds something else, or a number that is not above 0.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"got {text!r}, expected numbers, comma-separated, such as 1,2,4") from error
    if min(numbers) <= 0:
        raise typer.BadParameter(f"got {text!r}, expected numbers above 0")
    return numbers


def write_figures(path: Path | None, figures: dict[str, Any]) -> None:
    """Write figures as JSON, with what is to be known about the machine, if a file is asked for."""
    if path is not None:
        machine = {"machine": platform.machine(), "processors": os.cpu_count(), "system": platform.system()}
        path.write_text(json.dumps({**figures, **machine}, indent=2) + "\n", encoding="utf-8")


def show_goal(name: str, value: float, goal: str, unit: str = "") -> None:
    """Print a figure beside the goal it is held against."""
    typer.echo(f"{name}: {value:.3g}{unit} (goal {goal})")
