"""`vlmir eval [restore]|ablation|budget|guidance|compute`: figures of a model, printed, as JSON or as a report."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from typer.core import TyperGroup

from model.config import QUALITIES
from model.errors import ModelError
from model.evaluate.compute import measure_company, measure_compute
from model.evaluate.guidance_command import ablation, budget
from model.evaluate.report import HTML_NAME, Report
from model.evaluate.run import ALL_SUITES, Run
from model.evaluate.suites import SuiteOptions, check_suites
from model.pipeline import Restorer

T = TypeVar("T")


class _RestoreByDefault(TyperGroup):
    """`vlmir eval --data ...` is `vlmir eval restore --data ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["restore", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RestoreByDefault,
    help="Measure a model. Without a command: restore, so `vlmir eval --data DIR --suite ten --report DIR` will do.",
    no_args_is_help=True,
)
app.command()(ablation)
app.command()(budget)

ModelName = Annotated[str, typer.Option("--model", help="Name of a model, or its folder.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@app.command()
def restore(
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of clean photos (repeat for several); not needed by 'seams'.")
    ] = None,
    suite: Annotated[str, typer.Option(help=f"{', '.join(ALL_SUITES)} or several, comma-separated.")] = "ten",
    model: ModelName = "small",
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html, report.json and pictures; suites add up in it.")
    ] = None,
    real: Annotated[
        list[Path] | None, typer.Option(help="Folder of really damaged photos for 'real' (default: --data).")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Denoising steps, comma-separated (default: balanced; steps 1,2,4,8,20; seams 1,4,8)."),
    ] = None,
    only: Annotated[str | None, typer.Option(help="Keep the cases whose name holds this text.")] = None,
    severity: Annotated[
        str | None,
        typer.Option(
            help="Of 'ten' and 'mixtures', 0..1, comma-separated (default: 0.5; with --report 0.25,0.5,0.75); "
            "'ablation' takes the first (default: 0.5)."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many photos.")] = None,
    baselines: Annotated[
        bool | None, typer.Option("--baselines/--no-baselines", help="Classical methods too (default: with --report).")
    ] = None,
    find_holes: Annotated[bool, typer.Option(help="Do not tell the model where the holes are.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Folder for damaged | restored | clean strips.")] = None,
    json_out: Json = None,
    device: Device = "cpu",
) -> None:
    """PSNR, SSIM and more before and after, per kind of damage (see docs/evaluation.md)."""
    severities = _read_numbers("--severity", severity or ("0.25,0.5,0.75" if report else "0.5"), float, "0.25,0.5")
    if not all(0 <= value <= 1 for value in severities):
        raise typer.BadParameter(f"--severity {severity}: expected numbers from 0 to 1")
    options = SuiteOptions(
        counts=None if steps is None else tuple(_read_numbers("--steps", steps, int, "1,4")),
        severities=tuple(severities),
        only=only,
        limit=limit,
        give_mask=not find_holes,
        baselines=report is not None if baselines is None else baselines,
    )
    try:
        names = check_suites(suite, ALL_SUITES)
        if not data and any(name != "seams" and not (name == "real" and real) for name in names):
            raise ModelError(f"suite {suite!r}: expected photos; give --data a folder of clean photos")
        restorer = Restorer.load(model, device)
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
        target = None if report is None else Report(report, restorer)
        if target is not None and target.is_continued:
            typer.echo(f"{report}: a report of this model is there already and is continued")
        run = Run(restorer, data or [], real, options, target, pictures, typer.echo)
        if severity is not None:
            run.ablation_severity = severities[0]
        figures = run.measure(names)
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    if report is not None:
        typer.echo(f"report: {report / HTML_NAME}")
    _write(json_out, {"model": model, "data": [path.name for path in data or []], **figures})


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


def _read_numbers(option: str, text: str, kind: Callable[[str], T], example: str) -> list[T]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        wanted = "whole numbers" if kind is int else "numbers"
        raise typer.BadParameter(f"{option} {text!r}: expected {wanted}, comma-separated, such as {example}") from error


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
