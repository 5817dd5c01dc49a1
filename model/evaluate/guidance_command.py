"""`vlmir eval ablation|budget`: what the guidance is worth, and what more steps buy."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer

from model.degradation.kinds import KINDS, kind_index
from model.errors import ModelError
from model.evaluate.guidance_table import SEVERITY, measure_table
from model.evaluate.step_budget import measure_budget
from model.pipeline import Restorer
from model.train.photos import find_photos

T = TypeVar("T")

Data = Annotated[list[Path], typer.Option(help="Folder of clean photos (repeat for several).")]
ModelName = Annotated[str, typer.Option("--model", help="Name of a model, or its folder.")]
Kinds = Annotated[str | None, typer.Option(help="Kinds of damage, comma-separated (default: all ten).")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only so many photos.")]
Crop = Annotated[int | None, typer.Option(min=16, help="Use the middle square of this side, px (faster).")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def ablation(
    data: Data,
    model: ModelName = "small",
    kinds: Kinds = None,
    severity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the damage.")] = SEVERITY,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps, the same for every row.")] = 1,
    limit: Limit = None,
    crop: Crop = None,
    json_out: Json = None,
    device: Device = "cpu",
) -> None:
    """PSNR per kind with parts of the guidance taken away, falsified or told (see docs/guidance.md)."""
    chosen = _read_kinds(kinds)
    try:
        restorer = Restorer.load(model, device)
        paths = find_photos(data)[:limit]
        table = measure_table(restorer, paths, typer.echo, chosen, severity=severity, steps=steps, crop_px=crop)
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    _write(json_out, {"model": model, "data": [path.name for path in data], **table})


def budget(
    data: Data,
    model: ModelName = "small",
    kinds: Kinds = None,
    severities: Annotated[str, typer.Option(help="Comma-separated, 0..1.")] = "0.25,0.5,0.75",
    steps: Annotated[str, typer.Option(help="Numbers of denoising steps, comma-separated.")] = "1,2,4,8",
    quality: Annotated[str, typer.Option(help="Whose present choice of steps is shown.")] = "balanced",
    limit: Limit = None,
    crop: Crop = None,
    json_out: Json = None,
    device: Device = "cpu",
) -> None:
    """PSNR and seconds per kind and severity at several numbers of steps: the table behind `steps_by_kind`."""
    chosen, levels, counts = _read_kinds(kinds), _read(severities, float, "0.25,0.5"), _read(steps, int, "1,4")
    head = f"{'kind':11s}{'severity':>9s}{'found':>7s}{quality:>10s}{'before':>8s}"
    rows = []
    try:
        restorer = Restorer.load(model, device)
        paths = find_photos(data)[:limit]
        typer.echo(head + "".join(f"{n:>8d}" for n in counts) + "".join(f"{f'{n}, s':>8s}" for n in counts))
        for row in measure_budget(restorer, paths, chosen, levels, counts, quality=quality, crop_px=crop):
            cells = [*row.psnr.values(), *row.seconds.values()]
            line = f"{row.kind:11s}{row.severity:9.2f}{row.found:7.0%}{row.chosen:10.2f}{row.before:8.2f}"
            typer.echo(line + "".join(f"{cell:8.2f}" for cell in cells))
            rows.append(asdict(row))
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    _write(json_out, {"model": model, "data": [path.name for path in data], "photos": len(paths), "rows": rows})


def _read_kinds(text: str | None) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(text.split(","))) if text is not None else KINDS
    try:
        for kind in kinds:
            kind_index(kind)
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error
    return kinds


def _read(text: str, kind: Callable[[str], T], example: str) -> list[T]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected numbers, comma-separated, such as {example}") from error


def _write(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        path.write_text(json.dumps({**figures, **machine}, indent=2) + "\n", encoding="utf-8")
