"""`vlmir eval restore|guidance|compute`: figures of a model, printed and optionally written as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from model.config import QUALITIES
from model.errors import ModelError
from model.evaluate.cases import SUITES, list_cases
from model.evaluate.compute import measure_company, measure_compute
from model.evaluate.restoration import measure
from model.pipeline import Restorer
from model.train.photos import find_photos

app = typer.Typer(help="Measure a model.", no_args_is_help=True)

ModelName = Annotated[str, typer.Option("--model", help="Name of a model, or its folder.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@app.command()
def restore(
    data: Annotated[list[Path], typer.Option(help="Folder of clean photos (repeat for several).")],
    suite: Annotated[str, typer.Option(help=f"{', '.join(SUITES)} or several, comma-separated.")] = "ten",
    model: ModelName = "small",
    steps: Annotated[str | None, typer.Option(help="Denoising steps, comma-separated (default: balanced).")] = None,
    only: Annotated[str | None, typer.Option(help="Keep the cases whose name holds this text.")] = None,
    severity: Annotated[float, typer.Option(help="Of the suite 'ten', 0..1.")] = 0.5,
    limit: Annotated[int | None, typer.Option(help="Use only so many photos.")] = None,
    find_holes: Annotated[bool, typer.Option(help="Do not tell the model where the holes are.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Folder for damaged | restored | clean strips.")] = None,
    json_out: Json = None,
    device: Device = "cpu",
) -> None:
    """PSNR before and after, per kind of damage."""
    try:
        restorer = Restorer.load(model, device)
        paths = find_photos(data)[:limit]
        counts = _read_counts(steps) if steps else [restorer.default_steps("balanced")]
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
        rows = []
        typer.echo(
            f"{'case':20s} {'photos':>6s} {'steps':>5s} {'before':>7s} {'after':>7s} {'gain':>6s} {'s/photo':>8s}"
        )
        for name in suite.split(","):
            cases = [case for case in list_cases(name, severity) if only is None or only in case.name]
            for count in counts:
                for row in measure(restorer, paths, cases, count, give_mask=not find_holes, pictures=pictures):
                    gain = row.psnr_after - row.psnr_before
                    typer.echo(
                        f"{row.case:20s} {row.photos:6d} {row.steps:5d} {row.psnr_before:7.2f} {row.psnr_after:7.2f} "
                        f"{gain:+6.2f} {row.seconds:8.2f}"
                    )
                    rows.append(asdict(row))
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    _write(json_out, {"model": model, "data": [path.name for path in data], "rows": rows})


@app.command()
def guidance(
    captioned: Annotated[Path, typer.Option(help="Folder of captioned photos.")],
    held_out: Annotated[Path, typer.Option(help="Text file of the file names that training left out.")],
    data: Annotated[list[Path], typer.Option(help="Folder of photos the predictor never saw (repeat for several).")],
    model: ModelName = "small",
    json_out: Json = None,
) -> None:
    """Retrieval, captions, caption alignment before and after LoRA, degradation predictor."""
    from model.evaluate.guidance import measure_guidance

    try:
        restorer = Restorer.load(model)
        names = frozenset(held_out.read_text(encoding="utf-8").split())
        figures = measure_guidance(restorer.guidance, captioned, names, data)
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    _print(figures)
    _write(json_out, {"model": model, **figures})


@app.command()
def compute(
    model: ModelName = "small",
    side: Annotated[int, typer.Option(help="Side of the square photo, px.")] = 512,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes torch's default.")] = 0,
    json_out: Json = None,
    device: Device = "cpu",
) -> None:
    """Seconds, TFLOP per megapixel, memory; and the same photo alone and beside seven others."""
    if threads:
        torch.set_num_threads(threads)
    try:
        restorer = Restorer.load(model, device)
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    figures: dict[str, Any] = {quality: measure_compute(restorer, side, quality) for quality in QUALITIES}
    figures["company"] = measure_company(restorer)
    _print(figures)
    _write(json_out, {"model": model, **figures})


def _read_counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--steps {text!r}: expected whole numbers, comma-separated, such as 1,4") from error


def _print(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            for key, item in value.items():
                typer.echo(f"  {key:24s} {item:.4g}" if isinstance(item, float) else f"  {key:24s} {item}")
        else:
            typer.echo(f"{name:26s} {value:.4g}")


def _write(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        path.write_text(json.dumps({**figures, **machine}, indent=2) + "\n", encoding="utf-8")
