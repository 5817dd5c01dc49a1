"""`vlmir train vlm|predictor|restorer`: arguments to a training run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import torch
import typer

from model.config import load_config
from model.errors import ModelError
from model.train.loop import RunOptions, run_training
from model.train.photos import load_photos

app = typer.Typer(help="Train the parts of a model.", no_args_is_help=True)



@app.callback()
def _group() -> None:
    """Train the parts of a model: vlm, then predictor, then restorer."""


Data = Annotated[list[Path], typer.Option("--data", help="Folder of photos (repeat for several); captions.tsv beside them is used.")]
Out = Annotated[Path, typer.Option("--out", help="Model folder to write; an interrupted run in it is resumed.")]
ConfigName = Annotated[str, typer.Option("--config", help="Name of a configuration, or a .json file.")]
Steps = Annotated[int | None, typer.Option(help="Number of steps (or give --time-budget).")]
Budget = Annotated[str | None, typer.Option(help="How long to train, such as 90s, 25m or 2h; the schedule ends on time.")]
HeldOut = Annotated[Path | None, typer.Option(help="Text file of file names to hold out for the figures.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Batch = Annotated[int | None, typer.Option(help="Batch size; None is the part's default.")]
Precision = Annotated[str, typer.Option(help="fp32 or bf16.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate; None is the part's default.")]


def parse_seconds(text: str) -> float:
    """Seconds of "90s", "25m", "2h" or a plain number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None:
        raise typer.BadParameter(f"got {text!r}, expected a number with s, m or h, such as 25m")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes CUDA when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    return torch.device(name)


def read_names(path: Path | None) -> frozenset[str]:
    """File names listed in a text file, one a line."""
    return frozenset(path.read_text(encoding="utf-8").split()) if path else frozenset()


def run_options(
    out: Path, steps: int | None, budget: str | None, seed: int, precision: str, **values: float | int
) -> RunOptions:
    """Options of a run; without steps and budget the run takes ten minutes."""
    seconds = parse_seconds(budget or "10m") if steps is None else None
    return RunOptions(out, steps=steps, time_budget_s=seconds, seed=seed, precision=precision, **values)  # type: ignore[arg-type]


@app.command()
def vlm(
    data: Data,
    out: Out,
    config: ConfigName = "small",
    steps: Steps = None,
    time_budget: Budget = None,
    held_out: HeldOut = None,
    device: Device = "auto",
    batch_size: Batch = None,
    precision: Precision = "fp32",
    seed: Seed = 0,
    learning_rate: Rate = None,
) -> None:
    """Stage one: train the small CoCa on captioned photos."""
    from model.train.vlm import VLMTask

    names = read_names(held_out)
    model = load_config(config)
    torch.manual_seed(seed)
    try:
        photos = load_photos(data, min_side=model.vlm.image_px, exclude=names)
        validation = load_photos(data, only=names) if names else []
        task = VLMTask(model, photos, validation, choose_device(device), batch_size or 96)
        run_training(
            task, run_options(out, steps, time_budget, seed, precision, learning_rate=learning_rate or 6e-4, weight_decay=0.05)
        )
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
