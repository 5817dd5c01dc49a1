"""`vlmir train vlm|predictor|restorer`: arguments to a training run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import torch
import typer

from model.config import load_config
from model.errors import ModelError
from model.train.loop import RunOptions, TrainingStoppedError, run_training
from model.train.photos import Photo, load_photos

app = typer.Typer(help="Train the parts of a model.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Train the parts of a model: vlm, then predictor, then restorer."""


Data = Annotated[
    list[Path], typer.Option("--data", help="Folder of photos (repeat for several); captions.tsv beside them is used.")
]
Out = Annotated[Path, typer.Option("--out", help="Model folder to write; an interrupted run in it is resumed.")]
ConfigName = Annotated[str, typer.Option("--config", help="Name of a configuration, or a .json file.")]
Steps = Annotated[int | None, typer.Option(help="Number of steps (or give --time-budget).")]
Budget = Annotated[
    str | None, typer.Option(help="How long to train, such as 90s, 25m or 2h; the schedule ends on time.")
]
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


def as_exit(error: ModelError) -> Exception:
    """What the command line ends with: 128 + signal for a stopped run, else a message about the arguments."""
    if isinstance(error, TrainingStoppedError):
        typer.echo(str(error), err=True)
        return typer.Exit(128 + error.signal_number)
    return typer.BadParameter(str(error))


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
    torch.manual_seed(seed)
    try:
        model = load_config(config)
        photos = load_photos(data, min_side=model.vlm.image_px, exclude=names)
        validation = load_photos(data, only=names) if names else []
        task = VLMTask(model, photos, validation, choose_device(device), batch_size or 96)
        run_training(
            task,
            run_options(
                out, steps, time_budget, seed, precision, learning_rate=learning_rate or 6e-4, weight_decay=0.05
            ),
        )
    except ModelError as error:
        raise as_exit(error) from error


@app.command()
def predictor(
    data: Data,
    out: Out,
    caption_data: Annotated[
        list[Path] | None, typer.Option(help="Photos for the caption pairs (default: those of --data).")
    ] = None,
    steps: Steps = None,
    time_budget: Budget = None,
    held_out: HeldOut = None,
    pairs: Annotated[int, typer.Option(help="Caption pairs to make for the alignment.")] = 2500,
    align_budget: Annotated[str, typer.Option(help="Training time of the text adapters.")] = "2m",
    device: Device = "auto",
    batch_size: Batch = None,
    precision: Precision = "fp32",
    seed: Seed = 0,
    learning_rate: Rate = None,
) -> None:
    """Stage one: align captions of damaged and clean photos (LoRA), then train the degradation predictor."""
    from model.checkpoint import ModelFolder
    from model.guidance import Guidance
    from model.train.alignment import AlignmentTask
    from model.train.captions import caption_pairs
    from model.train.predictor import REGION_PX, PredictorTask

    names = read_names(held_out)
    torch.manual_seed(seed)
    target = choose_device(device)
    try:
        folder = ModelFolder(out)
        guidance = Guidance.load(folder.load_config(), folder, trained=False).to(target)
        if guidance.vlm.has_captions and not folder.has("lora"):
            photos = load_photos(caption_data or data, exclude=names)
            order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(seed)).tolist()
            learnt = [photos[index] for index in order[:pairs]]
            unseen = load_photos(caption_data or data, only=names) if names else [photos[i] for i in order[pairs:]]
            unseen = unseen[:300]
            typer.echo(f"writing captions of {len(learnt)} + {len(unseen)} photos, damaged and clean")
            half = precision == "bf16"
            written = caption_pairs(guidance, learnt, seed, half=half)
            task = AlignmentTask(guidance, written, caption_pairs(guidance, unseen, seed + 1, half=half))
            run_training(
                task, run_options(out, None, align_budget, seed, precision, learning_rate=5e-4, warmup_steps=50)
            )
            guidance.vlm.requires_grad_(False)
        photos = load_photos(data, min_side=max(REGION_PX), exclude=names)
        trained, unseen = split_photos(photos)
        run_training(
            PredictorTask(guidance, trained, unseen, target, batch_size or 16),
            run_options(out, steps, time_budget, seed, precision, learning_rate=learning_rate or 1e-3, warmup_steps=50),
        )
    except ModelError as error:
        raise as_exit(error) from error


@app.command()
def restorer(
    data: Data,
    out: Out,
    kinds: Annotated[
        str, typer.Option(help="Degradations to learn, comma-separated; 'all' makes the universal model.")
    ] = "all",
    val_data: Annotated[
        list[Path] | None, typer.Option(help="Photos for figures and pictures (default: some of --data).")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="Model folder whose restorer is the starting point of a new run.")
    ] = None,
    steps: Steps = None,
    time_budget: Budget = None,
    device: Device = "auto",
    scale: Annotated[
        int, typer.Option(help="Multiplies the batch sizes (16 patches of 64 px on a CPU); 8 or more for a large GPU.")
    ] = 1,
    precision: Precision = "fp32",
    seed: Seed = 0,
    learning_rate: Rate = None,
) -> None:
    """Stage two: train the restoration network with stage one frozen."""
    from model.checkpoint import ModelFolder
    from model.guidance import Guidance
    from model.train.restorer import LEARNING_RATE, RestorerTask

    torch.manual_seed(seed)
    target = choose_device(device)
    try:
        wanted = read_kinds(kinds)
        folder = ModelFolder(out)
        config = folder.load_config()
        guidance = Guidance.load(config, folder)
        photos = load_photos(data, min_side=config.tile_px * 5 // 8)
        trained, unseen = (photos, load_photos(val_data)) if val_data else split_photos(photos)
        start = None if start_from is None else ModelFolder(start_from)
        task = RestorerTask(
            guidance, trained, unseen, target, wanted, scale, seed, half=precision == "bf16", start_from=start
        )
        rate = learning_rate or LEARNING_RATE
        run_training(task, run_options(out, steps, time_budget, seed, precision, learning_rate=rate))
    except ModelError as error:
        raise as_exit(error) from error


@app.command()
def variants(
    data: Data,
    out: Out,
    model: Annotated[Path, typer.Option(help="Model folder with a trained stage one, shared by all variants.")],
    file: Annotated[Path, typer.Option(help="JSON object of name to changed fields of network and diffusion.")],
    kinds: Annotated[str, typer.Option(help="Degradations to learn, comma-separated, or 'all'.")] = "noise,jpeg",
    val_data: Annotated[list[Path] | None, typer.Option(help="Photos for the figures.")] = None,
    steps: Steps = None,
    time_budget: Budget = None,
    device: Device = "auto",
    scale: Annotated[int, typer.Option(help="Multiplies the batch sizes.")] = 1,
    precision: Precision = "fp32",
    seed: Seed = 0,
    learning_rate: Rate = None,
) -> None:
    """Compare restoration networks at equal training time: a Markdown table of cost and PSNR."""
    from model.checkpoint import ModelFolder
    from model.config import ModelConfig
    from model.guidance import Guidance
    from model.train.restorer import LEARNING_RATE, RestorerTask
    from model.train.variants import compare, read_variants, table

    target = choose_device(device)
    try:
        folder = ModelFolder(model)
        base = folder.load_config()
        chosen = read_variants(file, base, out)
        guidance = Guidance.load(base, folder)
        photos = load_photos(data, min_side=base.tile_px * 5 // 8)
        trained, unseen = (photos, load_photos(val_data)) if val_data else split_photos(photos)
        made: list[RestorerTask] = []

        def make_task(config: ModelConfig) -> RestorerTask:
            regions = made[0].regions if made else None
            half = precision == "bf16"
            wanted = read_kinds(kinds)
            task = RestorerTask(
                guidance, trained, unseen, target, wanted, scale, seed, half=half, config=config, regions=regions
            )
            made[:] = [task]
            return task

        options = run_options(
            out, steps, time_budget, seed, precision, learning_rate=learning_rate or LEARNING_RATE, warmup_steps=50
        )
        outcomes = []
        for outcome in compare(chosen, make_task, options):
            outcomes.append(outcome)
            typer.echo(table(outcomes))
    except ModelError as error:
        raise as_exit(error) from error


@app.command()
def average(
    first: Annotated[Path, typer.Argument(help="Model folder; stage one is taken from it.")],
    second: Annotated[Path, typer.Argument(help="Model folder whose restorer is mixed in.")],
    out: Annotated[Path, typer.Option(help="New model folder.")],
    share: Annotated[float, typer.Option(help="Part of the second, 0..1.")] = 0.5,
) -> None:
    """Average the restorers of two runs that began with the same weights; measure what comes out."""
    from model.train.average import average_restorers

    try:
        doubts = average_restorers(first, second, share, out)
    except ModelError as error:
        raise as_exit(error) from error
    for doubt in doubts:
        typer.echo(f"warning: {doubt}", err=True)
    typer.echo(f"{out}: {1 - share:g} of {first}, {share:g} of {second}")


@app.command()
def curve(
    metrics: Annotated[Path, typer.Argument(help="metrics.csv of a run, below OUT/training.")],
    goal: Annotated[float, typer.Option(help="Figure to reach, dB.")],
    figure: Annotated[str, typer.Option(help="Which figure of the run.")] = "psnr_sigma25",
) -> None:
    """PSNR against training time, and how far a goal lies beyond it."""
    from model.train.curve import extrapolate, read_curve

    try:
        points = read_curve(metrics, figure)
        outlook = extrapolate(points, goal)
    except ModelError as error:
        raise as_exit(error) from error
    typer.echo(f"{'step':>8s} {'minutes':>8s} {figure:>16s}")
    for point in points:
        typer.echo(f"{point.step:8d} {point.elapsed_s / 60:8.1f} {point.value:16.2f}")
    typer.echo(
        f"{outlook.per_doubling:+.2f} dB per doubling of the time; {goal} dB at {outlook.seconds / 3600:.3g} hours"
    )


def read_kinds(text: str) -> tuple[str, ...]:
    """Kinds of a comma-separated list, or all.

    Raises:
        DegradationError: An unknown kind.
    """
    from model.degradation.kinds import KINDS, kind_index

    wanted = KINDS if text == "all" else tuple(text.split(","))
    for kind in wanted:
        kind_index(kind)
    return wanted


def split_photos(photos: list[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Every twentieth photo is held out."""
    return [photo for index, photo in enumerate(photos) if index % 20], photos[::20]
