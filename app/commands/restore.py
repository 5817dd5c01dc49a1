"""`vlmir restore`: photos in, photos out, with the model in this process or through a running service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.access_option import ApiKeyOption
from app.commands.exits import stop_on_service_error
from app.commands.photo_options import (
    Format,
    KindsOption,
    ModelOption,
    Order,
    PhotoMetadataOption,
    Quality,
    QualityFactorOption,
    QualityOption,
    SeedOption,
    ServerOption,
    StepsOption,
    check_kinds,
)
from app.commands.result_files import SUFFIXES, write_whole
from app.errors import ServiceError
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    import rich.progress

Progress = Callable[[int, int], None]


Backend = Callable[[bytes, bytes | None, Order, Progress], tuple[bytes, str]]
"""Restores one photo, with its mask if it has one; gives its bytes and media type."""


def restore(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Photos to restore.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the restored photo goes.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option(help="Folder where the restored photos go, under their names.")
    ] = None,
    quality: QualityOption = Quality.BALANCED,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    caption: Annotated[str | None, typer.Option(help="What the photo shows [default: found out].")] = None,
    format: Annotated[Format | None, typer.Option(help="Format of the result [default: by -o, else as given].")] = None,
    photo_metadata: PhotoMetadataOption = None,
    quality_factor: QualityFactorOption = None,
    server: ServerOption = None,
    api_key: ApiKeyOption = None,
    model: ModelOption = None,
    mask: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Image that is white where the photo is missing.")
    ] = None,
    kinds: KindsOption = None,
    start_within: Annotated[
        float | None, typer.Option(metavar="S", help="With --server: give up a photo not begun within S seconds.")
    ] = None,
    finish_within: Annotated[
        float | None, typer.Option(metavar="S", help="With --server: give up a photo not done within S seconds.")
    ] = None,
) -> None:
    """Restore photos. The model runs in this process unless --server names a running service."""
    _check_places(inputs, output, out_dir, mask)
    chosen = format.value if format is not None else SUFFIXES.get(output.suffix.lower()) if output else None
    if output is not None and chosen is None and output.suffix:
        known = ", ".join(SUFFIXES)
        raise typer.BadParameter(
            f"no format is known by {output.suffix!r}; use {known}, or give --format", param_hint="-o"
        )
    if server is None and (start_within is not None or finish_within is not None):
        raise typer.BadParameter(
            "times are kept by a service; name it with --server", param_hint="--start-within / --finish-within"
        )
    check_kinds(kinds)
    holes = mask.read_bytes() if mask is not None else None
    order = Order(
        quality.value,
        steps,
        seed,
        caption,
        chosen,
        model if server is not None else None,
        kinds,
        None if photo_metadata is None else photo_metadata.value,
        quality_factor,
        start_within,
        finish_within,
    )
    with stop_on_service_error():
        backend = _through_service(server, api_key) if server is not None else _in_process(model)
    failures = _restore_all(inputs, output, out_dir, lambda image, progress: backend(image, holes, order, progress))
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _check_places(inputs: list[Path], output: Path | None, out_dir: Path | None, mask: Path | None) -> None:
    if (output is None) == (out_dir is None):
        raise typer.BadParameter(
            "say where results go, by either -o FILE or --out-dir DIR", param_hint="-o / --out-dir"
        )
    if output is not None and len(inputs) > 1:
        raise typer.BadParameter(f"{len(inputs)} photos do not fit into one file; use --out-dir", param_hint="-o")
    if mask is not None and len(inputs) > 1:
        raise typer.BadParameter("a mask belongs to one photo", param_hint="--mask")
    stems = [path.stem for path in inputs]
    if out_dir is not None and len(set(stems)) < len(stems):
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        raise typer.BadParameter(f"several photos are called {', '.join(twice)}; restore them apart", param_hint="IN")


def _restore_all(
    inputs: list[Path],
    output: Path | None,
    out_dir: Path | None,
    run: Callable[[bytes, Progress], tuple[bytes, str]],
) -> int:
    import rich.progress
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    failures = 0
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for path in inputs:
            row = bar.add_task(path.name, total=None)
            try:
                if output is not None:
                    _refuse_overwrite(output, inputs)
                data, media_type = run(path.read_bytes(), partial(_show, bar, row))
                target = output if output is not None else _name_in(out_dir or Path(), path, media_type)
                _refuse_overwrite(target, inputs)
                write_whole(target, data)
            except (ServiceError, OSError) as error:
                reason = error.detail if isinstance(error, ServiceError) else f"{error.strerror}: {error.filename}"
                console.print(f"{path}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
                failures += 1
            else:
                console.print(f"{path} -> {target}", markup=False, highlight=False, soft_wrap=True)
            bar.remove_task(row)
    return failures


def _show(bar: rich.progress.Progress, row: rich.progress.TaskID, done: int, total: int) -> None:
    bar.update(row, completed=done, total=total)


def _name_in(folder: Path, source: Path, media_type: str) -> Path:
    from app.images import FORMATS

    extension = next((form.extension for form in FORMATS.values() if form.media_type == media_type), "png")
    keeps_suffix = SUFFIXES.get(source.suffix.lower()) == SUFFIXES.get(f".{extension}")
    return folder / (source.name if keeps_suffix else f"{source.stem}.{extension}")


def _refuse_overwrite(target: Path, inputs: list[Path]) -> None:
    if any(target.exists() and path.exists() and target.samefile(path) for path in inputs):
        raise FileExistsError(
            17, "this would overwrite a photo that is to be restored; choose another place", str(target)
        )


def _in_process(model: str | None) -> Backend:
    from app.commands.roles import load_settings
    from app.worker.__main__ import make_runner
    from app.worker.local import restore_locally

    runner = make_runner(load_settings(), model)
    runner.load()

    def run(image: bytes, mask: bytes | None, order: Order, on_progress: Progress) -> tuple[bytes, str]:
        result = restore_locally(runner, image, order.options, mask, on_progress)
        return result.data, result.media_type

    return run


def _through_service(url: str, api_key: str | None) -> Backend:
    from app.client import RemoteJob, VlmirClient

    def run(image: bytes, mask: bytes | None, order: Order, on_progress: Progress) -> tuple[bytes, str]:
        media_types: list[str] = []

        def note(job: RemoteJob) -> None:
            on_progress(job.step, job.steps_total or 1)
            if job.result_media_type is not None:
                media_types.append(job.result_media_type)

        with VlmirClient(url, api_key=api_key) as client:
            data = client.restore(image, mask=mask, on_progress=note, **order.fields)
        return data, media_types[-1]

    return run
